//! Room `vault`: see ARCHITECTURE.md.
