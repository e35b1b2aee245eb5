//! The registry through its public face, on real files.

#[cfg(test)]
mod it {
    mod agreements;
    mod database;
    mod people;
    mod sign_in;
    mod support;
    mod tokens;
}
