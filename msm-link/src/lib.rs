//! A link between two ends in virtual time: what it loses, delays, reorders and repeats follows from a seed.
