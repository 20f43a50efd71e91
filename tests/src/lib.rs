//! Nothing but a place for `tests/`: whatever needs more than one room.
