//! The rules of style that BuildKit checks, with its texts.

use super::place::{Error, Lines};
use std::collections::BTreeSet;

/// A rule (docs.docker.com, "Build checks").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each says what it is in `description`")]
pub enum Rule {
    ConsistentInstructionCasing,
    CopyIgnoredFile,
    DuplicateStageName,
    ExposeInvalidFormat,
    ExposeProtoCasing,
    FromAsCasing,
    FromPlatformFlagConstDisallowed,
    InvalidBaseImagePlatform,
    InvalidDefaultArgInFrom,
    InvalidDefinitionDescription,
    JSONArgsRecommended,
    LegacyKeyValueFormat,
    MaintainerDeprecated,
    MultipleInstructionsDisallowed,
    NoEmptyContinuation,
    RedundantTargetPlatform,
    ReservedStageName,
    SecretsUsedInArgOrEnv,
    StageNameCasing,
    UndefinedArgInFrom,
    UndefinedVar,
    WorkdirRelativePath,
}

impl Rule {
    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// What it asks for.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::ConsistentInstructionCasing => {
                "All commands within the Dockerfile should use the same casing (either upper or lower)"
            }
            Self::CopyIgnoredFile => "Attempting to Copy file that is excluded by .dockerignore",
            Self::DuplicateStageName => "Stage names should be unique",
            Self::ExposeInvalidFormat => {
                "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release"
            }
            Self::ExposeProtoCasing => "Protocol in EXPOSE instruction should be lowercase",
            Self::FromAsCasing => "The 'as' keyword should match the case of the 'from' keyword",
            Self::FromPlatformFlagConstDisallowed => {
                "FROM --platform flag should not use a constant value"
            }
            Self::InvalidBaseImagePlatform => {
                "Base image platform does not match expected target platform"
            }
            Self::InvalidDefaultArgInFrom => {
                "Default value for global ARG results in an empty or invalid base image name"
            }
            Self::InvalidDefinitionDescription => {
                "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment."
            }
            Self::JSONArgsRecommended => {
                "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals"
            }
            Self::LegacyKeyValueFormat => {
                "Legacy key/value format with whitespace separator should not be used"
            }
            Self::MaintainerDeprecated => {
                "The MAINTAINER instruction is deprecated, use a label instead to define an image author"
            }
            Self::MultipleInstructionsDisallowed => {
                "Multiple instructions of the same type should not be used in the same stage"
            }
            Self::NoEmptyContinuation => {
                "Empty continuation lines will become errors in a future release"
            }
            Self::RedundantTargetPlatform => {
                "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior"
            }
            Self::ReservedStageName => "Reserved words should not be used as stage names",
            Self::SecretsUsedInArgOrEnv => {
                "Sensitive data should not be used in the ARG or ENV commands"
            }
            Self::StageNameCasing => "Stage names should be lowercase",
            Self::UndefinedArgInFrom => "FROM command must use declared ARGs",
            Self::UndefinedVar => "Variables should be defined before their use",
            Self::WorkdirRelativePath => {
                "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes"
            }
        }
    }

    /// Where it is explained.
    #[must_use]
    pub fn url(self) -> String {
        if self == Self::InvalidBaseImagePlatform {
            return String::new();
        }
        let mut page = String::new();
        let name = self.name().replace("JSON", "Json");
        for c in name.chars() {
            if c.is_ascii_uppercase() && !page.is_empty() {
                page.push('-');
            }
            page.push(c.to_ascii_lowercase());
        }
        format!("https://docs.docker.com/go/dockerfile/rule/{page}/")
    }

    /// Whether it is checked only where that is asked for.
    #[must_use]
    pub const fn is_experimental(self) -> bool {
        matches!(
            self,
            Self::CopyIgnoredFile | Self::InvalidDefinitionDescription
        )
    }
}

/// A breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Which.
    pub rule: Rule,
    /// What about it.
    pub message: String,
    /// Where.
    pub lines: Lines,
}

impl Warning {
    /// As a build shows it, in a line.
    #[must_use]
    pub fn short(&self) -> String {
        let place = match self.lines.first {
            0 => String::new(),
            line => format!(" (line {line})"),
        };
        format!("{}: {}{place}", self.rule.name(), self.message)
    }
}

/// Which rules are checked: the directive `check`, or the build argument `BUILDKIT_DOCKERFILE_CHECK`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    skip_all: bool,
    skip: BTreeSet<String>,
    experimental_all: bool,
    experimental: BTreeSet<String>,
    /// Whether a breach is an error.
    pub error: bool,
}

impl Checks {
    /// Reads `skip=a,b;experimental=all;error=true`.
    ///
    /// # Errors
    /// It is not written so.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut checks = Self::default();
        let text = text.trim();
        for part in text.splitn(3, ';').filter(|_| !text.is_empty()) {
            let invalid = |what: &str| Error::new(format!("invalid check option {what:?}"));
            let (key, value) = part.split_once('=').ok_or_else(|| invalid(part))?;
            let (key, value) = (key.trim(), value.trim());
            let names = || {
                value
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect()
            };
            match (key, value) {
                ("skip", "all") => checks.skip_all = true,
                ("skip", _) => checks.skip = names(),
                ("experimental", "all") => checks.experimental_all = true,
                ("experimental", _) => checks.experimental = names(),
                ("error", _) => {
                    checks.error = super::boolean(value).ok_or_else(|| {
                        Error::new(format!(
                            "failed to parse check option {part:?}: strconv.ParseBool: parsing {value:?}: invalid syntax"
                        ))
                    })?;
                }
                _ => return Err(invalid(key)),
            }
        }
        Ok(checks)
    }

    fn wants(&self, rule: Rule) -> bool {
        if rule.is_experimental() {
            return self.experimental_all || self.experimental.contains(&rule.name());
        }
        !self.skip_all && !self.skip.contains(&rule.name())
    }
}

/// Collects breaches.
#[derive(Clone, Debug, Default)]
pub struct Linter {
    checks: Checks,
    /// Those found so far.
    pub warnings: Vec<Warning>,
}

/// No more are kept: a hostile file may have one a line, and each takes part of the answer.
const MAX_WARNINGS: usize = 10_000;

impl Linter {
    /// That checks these rules.
    #[must_use]
    pub fn new(checks: Checks) -> Self {
        Self {
            checks,
            warnings: Vec::new(),
        }
    }

    /// Notes a breach, if the rule is checked.
    pub(crate) fn warn(&mut self, rule: Rule, lines: Lines, message: impl Into<String>) {
        if !self.checks.wants(rule) || self.warnings.len() >= MAX_WARNINGS {
            return;
        }
        let message = message.into();
        let same =
            |told: &Warning| told.rule == rule && told.lines == lines && told.message == message;
        if !self.warnings.iter().any(same) {
            self.warnings.push(Warning {
                rule,
                message,
                lines,
            });
        }
    }

    /// Whether all is as it is asked for.
    ///
    /// # Errors
    /// There are breaches, and these are errors.
    pub fn verdict(&self) -> Result<(), Error> {
        if !self.checks.error || self.warnings.is_empty() {
            return Ok(());
        }
        let names: BTreeSet<String> = self.warnings.iter().map(|w| w.rule.name()).collect();
        let names: Vec<String> = names.into_iter().collect();
        let names = names.join(", ");
        Err(Error::new(format!(
            "lint violation found for rules: {names}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read_as_they_are_written() {
        let checks =
            Checks::parse(" skip=JSONArgsRecommended, StageNameCasing;error=true").unwrap();
        assert!(checks.error);
        assert!(!checks.wants(Rule::StageNameCasing));
        assert!(checks.wants(Rule::UndefinedVar));
        assert!(!checks.wants(Rule::CopyIgnoredFile));
        let checks = Checks::parse("skip=all;experimental=CopyIgnoredFile").unwrap();
        assert!(!checks.wants(Rule::UndefinedVar));
        assert!(checks.wants(Rule::CopyIgnoredFile));
        let refused = |text| Checks::parse(text).unwrap_err().message;
        assert_eq!(refused("x"), "invalid check option \"x\"");
        assert_eq!(refused("x=1"), "invalid check option \"x\"");
        assert!(refused("error=maybe").starts_with("failed to parse check option \"error=maybe\""));
        assert_eq!(Checks::parse("").unwrap(), Checks::default());
    }

    #[test]
    fn a_rule_has_a_page() {
        let page = |rule: Rule| rule.url().rsplit('/').nth(1).unwrap_or_default().to_owned();
        assert_eq!(page(Rule::JSONArgsRecommended), "json-args-recommended");
        assert_eq!(page(Rule::FromAsCasing), "from-as-casing");
        assert_eq!(Rule::InvalidBaseImagePlatform.url(), "");
    }

    #[test]
    fn breaches_are_errors_only_where_that_is_asked_for() {
        let mut linter = Linter::default();
        linter.warn(Rule::UndefinedVar, Lines { first: 2, last: 2 }, "x");
        assert_eq!(linter.warnings[0].short(), "UndefinedVar: x (line 2)");
        linter.verdict().unwrap();
        linter.checks.error = true;
        let said = linter.verdict().unwrap_err().message;
        assert_eq!(said, "lint violation found for rules: UndefinedVar");
    }
}
