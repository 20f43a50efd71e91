//! The clients in Python, each in a virtual environment of its own: `tests/clients/python`.
//!
//! What always holds: an environment has the packages of its file in `requirements/`, at the versions
//! that stand there.

use std::path::PathBuf;
use std::process::Command;

use super::place;
use crate::packages::need;
use crate::process::succeed;
use crate::root;

/// kafka-python's driver.
pub(super) fn kafka_python() -> Result<Vec<String>, String> {
    driver("kafka-python", "with_kafka_python.py")
}

/// The same with the version that much software still has.
pub(super) fn kafka_python_old() -> Result<Vec<String>, String> {
    driver("kafka-python-2.0.2", "with_kafka_python.py")
}

/// aiokafka's driver.
pub(super) fn aiokafka() -> Result<Vec<String>, String> {
    driver("aiokafka", "with_aiokafka.py")
}

/// confluent-kafka-python's driver.
pub(super) fn confluent_kafka() -> Result<Vec<String>, String> {
    driver("confluent-kafka", "with_confluent_kafka.py")
}

fn driver(name: &str, program: &str) -> Result<Vec<String>, String> {
    let program = root().join("tests/clients/python").join(program);
    // No __pycache__ in the tree.
    let words = [install(name)?, "-B".into(), program];
    Ok(words.map(|word| word.display().to_string()).to_vec())
}

/// Makes the environment of that name where it is missing; the interpreter in it.
pub(crate) fn install(name: &str) -> Result<PathBuf, String> {
    need("python3", "python3-venv")?;
    let place = place(name)?;
    let python = place.join("bin/python");
    let file = root().join(format!("tests/clients/python/requirements/{name}.txt"));
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (wanted, stamp) = (read(&file)?, place.join("installed.txt"));
    if read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    succeed(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--requirement"]);
    succeed(pip.arg(&file))?;
    std::fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(python)
}
