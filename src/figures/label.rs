//! Text with italics, subscripts and superscripts: symbols and units of parameters.

use crate::data::manifest::ParameterDescription;

/// Where a run of letters stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Height {
    Base,
    Sub,
    Super,
}

/// Letters that look alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) text: String,
    pub(super) italic: bool,
    pub(super) height: Height,
}

/// A line of text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Label {
    pub(super) runs: Vec<Run>,
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        let mut label = Self::default();
        label.push(text, false, Height::Base);
        label
    }
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl Label {
    fn push(&mut self, text: &str, italic: bool, height: Height) {
        if text.is_empty() {
            return;
        }
        match self.runs.last_mut() {
            Some(last) if last.italic == italic && last.height == height => {
                last.text.push_str(text);
            }
            _ => self.runs.push(Run {
                text: text.to_string(),
                italic,
                height,
            }),
        }
    }

    /// This label, then another.
    pub(super) fn then(mut self, other: impl Into<Label>) -> Self {
        for run in other.into().runs {
            self.push(&run.text, run.italic, run.height);
        }
        self
    }

    /// The letters alone.
    #[cfg(test)]
    pub(super) fn plain(&self) -> String {
        self.runs.iter().map(|run| run.text.as_str()).collect()
    }

    /// As HTML.
    pub(super) fn html(&self) -> String {
        let mut html = String::new();
        for run in &self.runs {
            let mut text = escape(&run.text);
            if run.italic {
                text = format!("<i>{text}</i>");
            }
            html.push_str(&match run.height {
                Height::Base => text,
                Height::Sub => format!("<sub>{text}</sub>"),
                Height::Super => format!("<sup>{text}</sup>"),
            });
        }
        html
    }

    /// Width in pixels at a size of letters, roughly: fonts differ.
    pub(super) fn width(&self, size: f64) -> f64 {
        let widths = self.runs.iter().map(|run| {
            let share = if run.height == Height::Base {
                0.54
            } else {
                0.4
            };
            share * size * run.text.chars().count() as f64
        });
        widths.sum()
    }
}

/// Text as XML and HTML want it.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Symbols for the parameters of Gillet et al. (2019), where a manifest gives none.
const KNOWN: [(&str, &str); 4] = [
    ("log10_tvir", r"\log_{10} T_{\rm vir}"),
    ("zeta", r"\zeta"),
    ("log10_lx_sfr", r"\log_{10} L_{\rm X}/{\rm SFR}"),
    ("e0_kev", "E_0"),
];

/// The symbol of a parameter: its `latex`, or a known one, or its name.
pub(super) fn symbol(parameter: &ParameterDescription) -> Label {
    let known = KNOWN.iter().find(|(name, _)| *name == parameter.name);
    let source = parameter
        .latex
        .as_deref()
        .or(known.map(|(_, latex)| *latex));
    source.map_or_else(|| parameter.name.as_str().into(), latex)
}

/// Symbol and unit, as axes have them: `log10 Tvir [K]`.
pub(super) fn symbol_and_unit(parameter: &ParameterDescription) -> Label {
    let unit = unit(parameter);
    if unit.runs.is_empty() {
        return symbol(parameter);
    }
    symbol(parameter).then(" [").then(unit).then("]")
}

/// The unit of a parameter with its exponents raised. That of a logarithm is the unit of its argument.
pub(super) fn unit(parameter: &ParameterDescription) -> Label {
    let text = parameter.unit.trim();
    let text = text.strip_prefix("log10").map_or(text, str::trim);
    let mut label = Label::default();
    for (index, word) in text.split_whitespace().enumerate() {
        if index > 0 {
            label.push("\u{2009}", false, Height::Base);
        }
        let (base, exponent) = word.split_once('^').unwrap_or((word, ""));
        if base == "Msun" {
            label.push("M", false, Height::Base);
            label.push("\u{2299}", false, Height::Sub);
        } else {
            label.push(base, false, Height::Base);
        }
        let exponent = exponent.replace('-', "\u{2212}");
        label.push(&exponent, false, Height::Super);
    }
    label
}

/// The unit of a difference: that of a logarithm counts decades.
pub(super) fn unit_of_difference(parameter: &ParameterDescription) -> Label {
    if parameter.unit.trim().starts_with("log10") {
        "dex".into()
    } else {
        unit(parameter)
    }
}

/// Power of ten.
pub(super) fn power_of_ten(exponent: i32) -> Label {
    let mut label = Label::from("10");
    let exponent = exponent.to_string().replace('-', "\u{2212}");
    label.push(&exponent, false, Height::Super);
    label
}

/// What of LaTeX symbols need: letters, Greek, subscripts, superscripts, upright words, functions.
/// Anything else stands as it is written.
pub(super) fn latex(source: &str) -> Label {
    let mut label = Label::default();
    let letters: Vec<char> = source.chars().filter(|&c| c != '$').collect();
    let mut rest = &letters[..];
    expression(&mut rest, Height::Base, false, &mut label);
    label
}

/// Reads until the end or a closing brace.
fn expression(rest: &mut &[char], height: Height, upright: bool, label: &mut Label) {
    let mut upright = upright;
    while let Some((&letter, after)) = rest.split_first() {
        *rest = after;
        match letter {
            '}' => return,
            '{' => expression(rest, height, upright, label),
            // One step down or up is all that fits a line of text.
            '_' if height == Height::Base => argument(rest, Height::Sub, upright, label),
            '^' if height == Height::Base => argument(rest, Height::Super, upright, label),
            '_' | '^' => argument(rest, height, upright, label),
            '\\' => {
                let name: String = rest.iter().take_while(|c| c.is_alphabetic()).collect();
                *rest = &rest[name.len().min(rest.len())..];
                match name.as_str() {
                    "rm" | "mathrm" | "text" | "textrm" => {
                        upright = upright || name == "rm";
                        if name != "rm" {
                            argument(rest, height, true, label);
                        }
                    }
                    "log" | "ln" | "exp" => label.push(&name, false, height),
                    // `\,` and `\ ` are spaces.
                    "" => {
                        if let Some((&space, after)) = rest.split_first() {
                            *rest = after;
                            let text = if space == '%' { "%" } else { "\u{2009}" };
                            label.push(text, false, height);
                        }
                    }
                    _ => match greek(&name) {
                        Some(letter) => label.push(letter, !upright, height),
                        None => label.push(&name, false, height),
                    },
                }
                // A space after a command ends its name.
                while matches!(rest.first(), Some(' ')) {
                    *rest = &rest[1..];
                }
            }
            ' ' if height == Height::Base => label.push("\u{2009}", false, height),
            ' ' => {}
            '-' => label.push("\u{2212}", false, height),
            other => {
                let italic = other.is_alphabetic() && !upright;
                label.push(&other.to_string(), italic, height);
            }
        }
    }
}

/// One letter, command or group.
fn argument(rest: &mut &[char], height: Height, upright: bool, label: &mut Label) {
    match rest.first() {
        Some('{') => {
            *rest = &rest[1..];
            expression(rest, height, upright, label);
        }
        Some('\\') => {
            let length = 1 + rest[1..].iter().take_while(|c| c.is_alphabetic()).count();
            let mut command = &rest[..length];
            *rest = &rest[length..];
            expression(&mut command, height, upright, label);
        }
        Some(_) => {
            let mut letter = &rest[..1];
            *rest = &rest[1..];
            expression(&mut letter, height, upright, label);
        }
        None => {}
    }
}

fn greek(name: &str) -> Option<&'static str> {
    const LETTERS: [(&str, &str); 29] = [
        ("alpha", "\u{3b1}"),
        ("beta", "\u{3b2}"),
        ("gamma", "\u{3b3}"),
        ("delta", "\u{3b4}"),
        ("epsilon", "\u{3b5}"),
        ("zeta", "\u{3b6}"),
        ("eta", "\u{3b7}"),
        ("theta", "\u{3b8}"),
        ("kappa", "\u{3ba}"),
        ("lambda", "\u{3bb}"),
        ("mu", "\u{3bc}"),
        ("nu", "\u{3bd}"),
        ("xi", "\u{3be}"),
        ("pi", "\u{3c0}"),
        ("rho", "\u{3c1}"),
        ("sigma", "\u{3c3}"),
        ("tau", "\u{3c4}"),
        ("phi", "\u{3c6}"),
        ("chi", "\u{3c7}"),
        ("psi", "\u{3c8}"),
        ("omega", "\u{3c9}"),
        ("Delta", "\u{394}"),
        ("Gamma", "\u{393}"),
        ("Lambda", "\u{39b}"),
        ("Sigma", "\u{3a3}"),
        ("Omega", "\u{3a9}"),
        ("odot", "\u{2299}"),
        ("star", "\u{22c6}"),
        ("ell", "\u{2113}"),
    ];
    let found = LETTERS.iter().find(|(known, _)| *known == name);
    found.map(|(_, letter)| *letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(name: &str, unit: &str, latex: Option<&str>) -> ParameterDescription {
        ParameterDescription {
            name: name.to_string(),
            unit: unit.to_string(),
            min: 0.0,
            max: 1.0,
            latex: latex.map(str::to_string),
        }
    }

    #[test]
    fn symbols_of_the_paper_have_subscripts_and_units() {
        for (name, unit, html) in [
            (
                "log10_tvir",
                "log10 K",
                "log<sub>10</sub>\u{2009}<i>T</i><sub>vir</sub> [K]",
            ),
            ("zeta", "", "<i>\u{3b6}</i>"),
            ("e0_kev", "keV", "<i>E</i><sub>0</sub> [keV]"),
            (
                "log10_lx_sfr",
                "log10 erg s^-1 Msun^-1 yr",
                "log<sub>10</sub>\u{2009}<i>L</i><sub>X</sub>/SFR [erg\u{2009}s<sup>\u{2212}1</sup>\u{2009}M\
                 <sub>\u{2299}</sub><sup>\u{2212}1</sup>\u{2009}yr]",
            ),
        ] {
            assert_eq!(symbol_and_unit(&parameter(name, unit, None)).html(), html);
        }
    }

    #[test]
    fn latex_of_a_manifest_counts_and_other_names_stand_as_they_are() {
        let own = parameter("r_mfp", "Mpc", Some(r"R_{\mathrm{mfp}}^{\alpha_x}"));
        assert_eq!(
            symbol_and_unit(&own).html(),
            "<i>R</i><sub>mfp</sub><sup><i>\u{3b1}x</i></sup> [Mpc]"
        );
        assert_eq!(unit_of_difference(&own).html(), "Mpc");
        let logarithm = parameter("log10_tvir", "log10 K", None);
        assert_eq!(unit_of_difference(&logarithm).html(), "dex");
        assert_eq!(symbol(&parameter("level", "", None)).html(), "level");
        assert_eq!(latex(r"$\unknown_{").html(), "unknown");
        assert_eq!(latex(r"\").html(), "");
        assert_eq!(latex("s^{-1}").html(), "<i>s</i><sup>\u{2212}1</sup>");
        assert_eq!(latex("a_").html(), "<i>a</i>");
    }

    #[test]
    fn markup_in_names_is_escaped() {
        assert_eq!(
            Label::from("a<b & \"c\"").html(),
            "a&lt;b &amp; &quot;c&quot;"
        );
    }
}
