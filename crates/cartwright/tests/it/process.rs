//! The real binary as a real process: what it survives, what it refuses, what it says.

mod backup;
mod crash;
mod dead_letters;
mod disk;
mod harness;
mod hostile;
mod import;
mod load;
mod roles;
mod startup;
mod transfer;
