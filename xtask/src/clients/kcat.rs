//! kcat with Debian's librdkafka: `tests/clients/kcat.sh`.

use crate::packages::need;
use crate::root;

/// The script, and what it needs.
pub(super) fn install() -> Result<Vec<String>, String> {
    need("kcat", "kcat")?;
    need("jq", "jq")?;
    Ok(vec![
        root().join("tests/clients/kcat.sh").display().to_string(),
    ])
}
