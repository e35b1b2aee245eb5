//! The vault through its public face, on real files.

#[cfg(test)]
mod it {
    mod root_key;
    mod vault;
}
