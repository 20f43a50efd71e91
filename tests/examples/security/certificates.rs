//! The certificates of the suite: an authority, brokers in each state, a client.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

/// Writes all of them into a directory, as Kafka and the client read them (PEM). What ends with `.both`
/// is a key followed by its certificate: Kafka's form of a key store.
pub(crate) fn write(directory: &Path) -> Result<(), String> {
    let told = |error: rcgen::Error| error.to_string();
    let put = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (ca, ca_pem) = authority("suite").map_err(told)?;
    let (_, other_pem) = authority("another").map_err(told)?;
    put("ca.pem", &ca_pem)?;
    put("other-ca.pem", &other_pem)?;
    let here = ["localhost", "127.0.0.1"];
    let (certificate, key) = signed(&ca, &here, |_| {}).map_err(told)?;
    put("broker.both", &format!("{key}{certificate}"))?;
    let expire = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    };
    let (certificate, key) = signed(&ca, &here, expire).map_err(told)?;
    put("expired.both", &format!("{key}{certificate}"))?;
    let (certificate, key) = signed(&ca, &["elsewhere.example"], |_| {}).map_err(told)?;
    put("elsewhere.both", &format!("{key}{certificate}"))?;
    let (certificate, key) = signed(&ca, &["client"], |_| {}).map_err(told)?;
    put("client.pem", &certificate)?;
    put("client.key", &key)
}

fn authority(name: &str) -> Result<(Issuer<'static, KeyPair>, String), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

/// A certificate for these names, and its key.
fn signed(
    authority: &Issuer<'static, KeyPair>,
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> Result<(String, String), rcgen::Error> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "suite");
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    change(&mut params);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok((certificate.pem(), key.serialize_pem()))
}
