//! Room `identity`: see ARCHITECTURE.md.
