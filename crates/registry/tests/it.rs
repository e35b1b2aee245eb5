//! The registry through its public face, on real files and on a real PostgreSQL.

#[cfg(test)]
mod it {
    mod access;
    mod agreements;
    mod database;
    mod departures;
    mod duty;
    mod emergencies;
    mod exceptions;
    mod factors;
    mod locks;
    mod people;
    mod postgres;
    mod sign_in;
    mod support;
    mod tokens;
    mod training;
}
