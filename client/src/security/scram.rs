//! The client's side of SCRAM (RFC 5802; RFC 7677 for SHA-256).
//!
//! What always holds: a password is proven to nobody who doesn't continue our nonce, nor over fewer
//! rounds than [`ITERATIONS_MIN`], which would make guessing it from the proof cheap, nor over more
//! than [`ITERATIONS_MAX`], which would keep us busy; a broker that can't prove that it knows the
//! password too is refused. As in Kafka's own clients names and passwords are taken as UTF-8 without
//! `SASLprep`, and there is no channel binding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

use super::steps::{Refusal, Step};

/// The fewest rounds: what RFC 7677 asks for and Kafka's brokers store at least.
const ITERATIONS_MIN: u32 = 4096;
/// The most rounds: eight times what Kafka's brokers store at most; some tens of milliseconds.
const ITERATIONS_MAX: u32 = 131_072;
/// The longest salt that is looked at.
const SALT_BYTES_MAX: usize = 1024;
/// "No channel binding, no other identity", and that in base64, as it is repeated.
const GS2_HEADER: &str = "n,,";
const GS2_HEADER_BASE64: &str = "biws";

/// Which hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// One conversation.
pub(crate) struct Scram {
    hash: Hash,
    password: String,
    nonce: String,
    first_bare: String,
    state: State,
}

enum State {
    /// Waits for salt and rounds.
    Begun,
    /// Waits for the broker's proof, which must be this.
    Proven {
        signature: Vec<u8>,
    },
    Over,
}

impl Scram {
    /// A conversation that begins with this nonce: printable, without a comma.
    pub(super) fn new(hash: Hash, user: &str, password: &str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self {
            hash,
            password: password.to_owned(),
            first_bare: format!("n={user},r={nonce}"),
            nonce,
            state: State::Begun,
        }
    }

    /// What is said first.
    pub(super) fn first(&self) -> Vec<u8> {
        format!("{GS2_HEADER}{}", self.first_bare).into_bytes()
    }

    /// What is said to this.
    pub(super) fn next(&mut self, said: &[u8]) -> Result<Step, Refusal> {
        let said = std::str::from_utf8(said).map_err(|_| broken("it is no text"))?;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Begun => self.prove(said),
            State::Proven { signature } => verify(said, &signature),
            State::Over => Err(broken("it goes on after the end")),
        }
    }

    fn prove(&mut self, server_first: &str) -> Result<Step, Refusal> {
        let Challenge {
            nonce,
            salt,
            iterations,
        } = Challenge::parse(server_first)?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(broken("its nonce does not continue ours"));
        }
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(Refusal::Broker(format!(
                "it asks for {iterations} rounds, {ITERATIONS_MIN} to {ITERATIONS_MAX} are accepted"
            )));
        }
        let unproven = format!("c={GS2_HEADER_BASE64},r={nonce}");
        let signed = format!("{},{server_first},{unproven}", self.first_bare);
        let password = self.password.as_bytes();
        let Proof { proof, signature } = match self.hash {
            Hash::Sha256 => sha_256(password, &salt, iterations, signed.as_bytes()),
            Hash::Sha512 => sha_512(password, &salt, iterations, signed.as_bytes()),
        };
        self.state = State::Proven { signature };
        let said = format!("{unproven},p={}", STANDARD.encode(proof));
        Ok(Step::Say(said.into_bytes()))
    }
}

/// The broker's first words.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> Challenge<'a> {
    fn parse(text: &'a str) -> Result<Self, Refusal> {
        let mut parts = text.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name));
        // An extension that must be understood ("m=") would stand where the nonce is expected.
        let nonce = part("r=").ok_or_else(|| broken("it has no nonce"))?;
        let salt = part("s=").ok_or_else(|| broken("it has no salt"))?;
        let iterations = part("i=").and_then(|rounds| rounds.parse().ok());
        if salt.len() > SALT_BYTES_MAX {
            return Err(broken("its salt is too long"));
        }
        let salt = STANDARD
            .decode(salt)
            .map_err(|_| broken("its salt is no base64"))?;
        Ok(Self {
            nonce,
            salt,
            iterations: iterations.ok_or_else(|| broken("it has no number of rounds"))?,
        })
    }
}

fn verify(server_final: &str, expected: &[u8]) -> Result<Step, Refusal> {
    let first = server_final.split(',').next().unwrap_or_default();
    if let Some(reason) = first.strip_prefix("e=") {
        return Err(Refusal::Broker(format!("it says {reason:?}")));
    }
    let proof = first
        .strip_prefix("v=")
        .and_then(|proof| STANDARD.decode(proof).ok())
        .ok_or_else(|| broken("it has no proof"))?;
    // Every byte is looked at, so that time tells nothing.
    let is_same = proof.len() == expected.len()
        && proof
            .iter()
            .zip(expected)
            .fold(0, |differs, (a, b)| differs | (a ^ b))
            == 0;
    if is_same {
        Ok(Step::Done)
    } else {
        Err(Refusal::Broker(
            "it can't prove that it knows the password: this is not the broker that it seems to be"
                .to_owned(),
        ))
    }
}

fn broken(what: &str) -> Refusal {
    Refusal::Broker(format!("what it says breaks SCRAM's rules: {what}"))
}

/// What proves the password to the broker, and what must come back.
struct Proof {
    proof: Vec<u8>,
    signature: Vec<u8>,
}

/// RFC 5802, section 3, for one hash.
macro_rules! proof_by {
    ($name:ident, $hash:ty) => {
        fn $name(password: &[u8], salt: &[u8], iterations: u32, signed: &[u8]) -> Proof {
            let keyed = |key: &[u8], message: &[u8]| {
                let mut mac = <Hmac<$hash>>::new_from_slice(key).expect("HMAC takes any key");
                mac.update(message);
                mac.finalize().into_bytes()
            };
            let salted = pbkdf2::pbkdf2_hmac_array::<$hash, { <$hash as Output>::BYTES }>(
                password, salt, iterations,
            );
            let client_key = keyed(&salted, b"Client Key");
            let stored_key = <$hash>::digest(&client_key);
            let client_signature = keyed(&stored_key, signed);
            let server_key = keyed(&salted, b"Server Key");
            let proof = client_key.iter().zip(&client_signature).map(|(a, b)| a ^ b);
            Proof {
                proof: proof.collect(),
                signature: keyed(&server_key, signed).to_vec(),
            }
        }
    };
}

/// How many bytes a hash gives.
trait Output {
    const BYTES: usize;
}

impl Output for Sha256 {
    const BYTES: usize = 32;
}

impl Output for Sha512 {
    const BYTES: usize = 64;
}

proof_by!(sha_256, Sha256);
proof_by!(sha_512, Sha512);

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3.
    const RFC_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const RFC_SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const RFC_CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const RFC_SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn begun() -> Scram {
        Scram::new(Hash::Sha256, "user", "pencil", RFC_NONCE.to_owned())
    }

    fn reason(result: Result<Step, Refusal>) -> String {
        match result {
            Err(Refusal::Broker(reason) | Refusal::Client(reason)) => reason,
            Ok(step) => panic!("accepted: {step:?}"),
        }
    }

    #[test]
    fn the_example_of_rfc_7677_is_spoken_word_by_word() {
        let mut scram = begun();
        assert_eq!(scram.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let Step::Say(said) = scram.next(RFC_SERVER_FIRST.as_bytes()).unwrap() else {
            panic!("it must prove the password");
        };
        assert_eq!(String::from_utf8(said).unwrap(), RFC_CLIENT_FINAL);
        let done = scram.next(RFC_SERVER_FINAL.as_bytes()).unwrap();
        assert!(matches!(done, Step::Done));
        assert!(reason(scram.next(b"v=")).contains("after the end"));
    }

    #[test]
    fn sha_512_gives_what_python_s_hashlib_and_hmac_give() {
        let mut scram = Scram::new(Hash::Sha512, "user", "pencil", RFC_NONCE.to_owned());
        let Step::Say(said) = scram.next(RFC_SERVER_FIRST.as_bytes()).unwrap() else {
            panic!("it must prove the password");
        };
        let said = String::from_utf8(said).unwrap();
        assert!(said.ends_with(SHA_512_PROOF), "{said}");
        scram.next(SHA_512_FINAL.as_bytes()).unwrap();
    }

    const SHA_512_PROOF: &str = ",p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==";
    const SHA_512_FINAL: &str = "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==";

    #[test]
    fn a_broker_that_does_not_know_the_password_is_refused() {
        for wrong in [
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95A==",
            "v=",
            "v=AAAA",
            "",
            "e=other-error",
        ] {
            let mut scram = begun();
            scram.next(RFC_SERVER_FIRST.as_bytes()).unwrap();
            reason(scram.next(wrong.as_bytes()));
        }
        let mut scram = begun();
        scram.next(RFC_SERVER_FIRST.as_bytes()).unwrap();
        let said = reason(scram.next(b"e=invalid-proof"));
        assert!(said.contains("invalid-proof"), "{said}");
    }

    #[test]
    fn few_rounds_many_rounds_and_a_foreign_nonce_are_refused_before_anything_is_proven() {
        let salted =
            |nonce: &str, rounds: &str| format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i={rounds}");
        let ours = format!("{RFC_NONCE}more");
        for (said, words) in [
            (salted(&ours, "4095"), "4095 rounds"),
            (salted(&ours, "131073"), "131073 rounds"),
            (salted(&ours, "99999999999"), "number of rounds"),
            (salted(&ours, "x"), "number of rounds"),
            (salted(RFC_NONCE, "4096"), "nonce"),
            (salted("another", "4096"), "nonce"),
            (format!("m=ext,{}", salted(&ours, "4096")), "nonce"),
            (format!("r={ours},s=%,i=4096"), "base64"),
            (
                format!("r={ours},s={},i=4096", "A".repeat(2048)),
                "too long",
            ),
            (format!("r={ours}"), "no salt"),
            (String::new(), "no nonce"),
        ] {
            let refused = reason(begun().next(said.as_bytes()));
            assert!(refused.contains(words), "{said}: {refused}");
        }
        assert!(reason(begun().next(&[0xff])).contains("no text"));
    }

    #[test]
    fn signs_that_mean_something_in_names_are_escaped() {
        let scram = Scram::new(Hash::Sha256, "a=b,c", "", "n".to_owned());
        assert_eq!(scram.first(), b"n,,n=a=3Db=2Cc,r=n");
    }
}
