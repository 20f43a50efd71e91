//! The journal: one sequence of commits per log directory (J1–J6).

pub(crate) mod commit;
pub(crate) mod file;
pub(crate) mod mark_form;
pub(crate) mod reader;
