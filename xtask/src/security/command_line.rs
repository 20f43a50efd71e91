//! `millrace topic`, `produce` and `consume` through listeners that want TLS or SASL: by options, by the
//! environment and by a context; and what they say when they are refused.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Door, PASSWORD, USER};
use crate::Outcome;
use crate::process::println;

/// What a command ends with when it is refused, and when the line itself is wrong.
const REFUSED: i32 = 1;
const USAGE: i32 = 2;

/// The commands, each run with an environment of its own.
struct Shell<'a> {
    binary: &'a Path,
    /// Where its contexts are.
    home: &'a Path,
}

/// Variables of the environment.
type Variables<'a> = &'a [(&'a str, &'a str)];

/// Options that lead to a listener, with the variables beside them.
type Way<'a> = (&'a str, Vec<&'a str>, Variables<'a>);

/// Options that lead nowhere, with the variables beside them, and what the command ends with and says.
type Refusal<'a> = (Vec<&'a str>, Variables<'a>, (i32, &'a str));

/// What a command came to.
struct Said {
    code: i32,
    out: String,
    errors: String,
}

impl Shell<'_> {
    fn run(&self, words: &[&str], variables: Variables<'_>, input: &str) -> Result<Said, String> {
        let told = |error: std::io::Error| format!("millrace {words:?}: {error}");
        let mut child = Command::new(self.binary)
            .args(words)
            .env("XDG_CONFIG_HOME", self.home)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(told)?;
        let mut stdin = child.stdin.take().expect("it was asked to be piped");
        // A command that is refused reads nothing.
        drop(stdin.write_all(input.as_bytes()));
        drop(stdin);
        let output = child.wait_with_output().map_err(told)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            errors: text(&output.stderr),
        })
    }

    fn works(
        &self,
        words: &[&str],
        variables: Variables<'_>,
        input: &str,
    ) -> Result<String, String> {
        let said = self.run(words, variables, input)?;
        if said.code == 0 {
            return Ok(said.out);
        }
        Err(format!("millrace {words:?}: {} {}", said.code, said.errors))
    }

    fn refused(
        &self,
        words: &[&str],
        variables: Variables<'_>,
        (code, told): (i32, &str),
    ) -> Outcome {
        let said = self.run(words, variables, "")?;
        if said.code != code || !said.errors.contains(told) {
            return Err(format!(
                "millrace {words:?} ended with {} and said {}, wanted {code} and {told:?}",
                said.code, said.errors
            ));
        }
        if said.errors.contains(PASSWORD) || said.errors.contains("not-it") {
            return Err(format!("millrace {words:?} shows a password"));
        }
        println(&format!(
            "refused: millrace {}\n{}",
            words.join(" "),
            said.errors.trim_end()
        ));
        Ok(())
    }
}

/// Runs all of it.
pub(super) fn run(binary: &Path, files: &Path, plain: &str, doors: &[Door]) -> Outcome {
    let home = tempfile::tempdir().map_err(|error| error.to_string())?;
    let shell = Shell {
        binary,
        home: home.path(),
    };
    let at = |name: &str| {
        let door = doors.iter().find(|door| door.name == name);
        door.map(|door| format!("localhost:{}", door.port))
            .ok_or_else(|| format!("there is no listener {name}"))
    };
    let file = |name: &str| files.join(name).display().to_string();
    let password = file("password");
    std::fs::write(&password, format!("{PASSWORD}\n")).map_err(|error| error.to_string())?;
    passing(&shell, &at, &file)?;
    let (ssl, sasl, ca) = (at("ssl")?, at("sasl")?, file("ca.pem"));
    let list = ["topic", "list", "--timeout", "20s"];
    let of_user = by_plain(&sasl);
    let cases: [Refusal<'_>; 7] = [
        (vec!["-b", &ssl, "--tls"], &[], (REFUSED, "no TLS with")),
        (vec!["-b", &ssl], &[], (REFUSED, "with TLS")),
        (vec!["-b", plain, "--tls-ca", &ca], &[], (3, "without TLS")),
        (
            of_user.to_vec(),
            &[("MILLRACE_SASL_PASSWORD", "not-it")],
            (REFUSED, "SASL_AUTHENTICATION_FAILED"),
        ),
        (of_user.to_vec(), &[], (USAGE, "MILLRACE_SASL_PASSWORD")),
        (vec!["-b", &sasl], &[], (3, "SASL")),
        (
            vec!["-b", &sasl, "--sasl-username", "x"],
            &[],
            (USAGE, "--sasl-mechanism"),
        ),
    ];
    for (options, variables, wanted) in cases {
        shell.refused(&[&list[..], &options].concat(), variables, wanted)?;
    }
    Ok(())
}

/// To a listener as the user, by PLAIN; the password comes from elsewhere.
fn by_plain(listener: &str) -> [&str; 6] {
    [
        "-b",
        listener,
        "--sasl-mechanism",
        "PLAIN",
        "--sasl-username",
        USER,
    ]
}

/// A record through each listener.
fn passing(
    shell: &Shell<'_>,
    at: &dyn Fn(&str) -> Result<String, String>,
    file: &dyn Fn(&str) -> String,
) -> Outcome {
    let (ca, password) = (file("ca.pem"), file("password"));
    let (certificate, key) = (file("client.pem"), file("client.key"));
    let (ssl, mtls, sasl, both) = (at("ssl")?, at("mtls")?, at("sasl")?, at("sasl_ssl")?);
    let secret = [("MILLRACE_SASL_PASSWORD", PASSWORD)];
    let mut add = vec!["context", "add", "shop", "-b", &both, "--tls-ca", &ca];
    add.extend(["--sasl-mechanism", "scram-sha-512", "--sasl-username", USER]);
    add.extend(["--sasl-password-file", &password]);
    shell.works(&add, &[], "")?;
    let kept = std::fs::read_to_string(shell.home.join("millrace/contexts.toml"))
        .map_err(|error| error.to_string())?;
    if kept.contains(PASSWORD) {
        return Err("a context keeps a password".to_owned());
    }
    let ways: [Way<'_>; 5] = [
        ("tls", vec!["-b", &ssl, "--tls-ca", &ca], &[]),
        (
            "certificate",
            vec![
                "-b",
                &mtls,
                "--tls-ca",
                &ca,
                "--tls-certificate",
                &certificate,
                "--tls-key",
                &key,
            ],
            &[],
        ),
        ("plain", by_plain(&sasl).to_vec(), &secret),
        (
            "scram",
            vec![
                "-b",
                &sasl,
                "--sasl-mechanism",
                "SCRAM-SHA-256",
                "--sasl-username",
                USER,
                "--sasl-password-file",
                &password,
            ],
            &[],
        ),
        ("context", vec!["--context", "shop"], &[]),
    ];
    for way in ways {
        one_way(shell, &way)?;
    }
    Ok(())
}

/// A topic made, a record in and out.
fn one_way(shell: &Shell<'_>, (name, options, variables): &Way<'_>) -> Outcome {
    let topic = format!("line-{name}");
    let run = |words: &[&str], input: &str| {
        let words = [words, options].concat();
        shell.works(&words, variables, input)
    };
    run(&["topic", "create", &topic, "--partitions", "1"], "")?;
    run(&["produce", &topic], "one\ntwo\n")?;
    let read = run(&["consume", &topic, "--count", "2"], "")?;
    if read != "one\ntwo\n" {
        return Err(format!("by {name} came {read:?}"));
    }
    println(&format!("pass command line by {name}"));
    Ok(())
}
