//! The archive, over real trails in temporary folders.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod it {
    mod archive;
}
