//! The real binary as a real process: what it survives, what it refuses, what it says.

mod access;
mod acme;
mod attack;
mod backup;
mod certificates;
mod crash;
mod dead_letters;
mod disk;
mod feed;
mod harness;
mod hostile;
mod http2;
mod import;
mod limits;
mod listeners;
mod load;
mod outbound;
mod overload;
mod roles;
mod sockets;
mod startup;
mod telemetry;
mod tls;
mod torture;
mod transfer;
