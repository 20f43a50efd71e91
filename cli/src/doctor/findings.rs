//! What was found, in the order of looking, as lines for people.

/// How it will end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Good,
    Warning,
    Bad,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<(Severity, String)>);

impl Findings {
    /// As it should be.
    pub(super) fn good(&mut self, what: impl Into<String>) {
        self.0.push((Severity::Good, what.into()));
    }

    /// It serves, and this will be felt.
    pub(super) fn warn(&mut self, what: impl Into<String>) {
        self.0.push((Severity::Warning, what.into()));
    }

    /// It doesn't serve, or what it acknowledges isn't safe.
    pub(super) fn bad(&mut self, what: impl Into<String>) {
        self.0.push((Severity::Bad, what.into()));
    }

    /// Nothing stands in the way.
    pub(super) fn is_serviceable(&self) -> bool {
        self.count(Severity::Bad) == 0
    }

    /// One line each, and the sum.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (severity, what) in &self.0 {
            text += match severity {
                Severity::Good => "ok    ",
                Severity::Warning => "warn  ",
                Severity::Bad => "BAD   ",
            };
            text += what;
            text.push('\n');
        }
        let (bad, warnings) = (self.count(Severity::Bad), self.count(Severity::Warning));
        text + &match (bad, warnings) {
            (0, 0) => "nothing to complain of\n".to_owned(),
            (0, some) => format!("it will serve; {some} to look at\n"),
            (some, _) => format!("{some} in the way of serving safely\n"),
        }
    }

    /// `{"serviceable", "findings": [{"severity": "ok" | "warn" | "bad", "what"}]}`.
    pub(super) fn json(&self) -> String {
        let findings = self.0.iter().map(|(severity, what)| {
            let severity = match severity {
                Severity::Good => "ok",
                Severity::Warning => "warn",
                Severity::Bad => "bad",
            };
            serde_json::json!({ "severity": severity, "what": what })
        });
        let findings: Vec<_> = findings.collect();
        let object = serde_json::json!({
            "serviceable": self.is_serviceable(),
            "findings": findings,
        });
        format!("{object}\n")
    }

    fn count(&self, which: Severity) -> usize {
        self.0
            .iter()
            .filter(|(severity, _)| *severity == which)
            .count()
    }
}
