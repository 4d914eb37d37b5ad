//! What every function of Cartwright on AWS shares: the adapters of the ports.
