//! Room `policy`: see ARCHITECTURE.md.
