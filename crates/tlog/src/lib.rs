//! Room `tlog`: see ARCHITECTURE.md.
