//! Room `trail`: see ARCHITECTURE.md.
