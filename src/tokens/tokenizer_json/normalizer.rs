//! `normalizer` → [`Normalizer`], and back.

use serde::Deserialize;

use crate::text::{Form, Normalizer};

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub(super) enum NormalizerPart {
    Lowercase {},
    #[serde(rename = "NFC")]
    Nfc {},
    #[serde(rename = "NFKC")]
    Nfkc {},
    Sequence {
        normalizers: Vec<NormalizerStep>,
    },
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub(super) enum NormalizerStep {
    Lowercase {},
    #[serde(rename = "NFC")]
    Nfc {},
    #[serde(rename = "NFKC")]
    Nfkc {},
}

pub(super) fn read_normalizer(part: NormalizerPart) -> Result<Normalizer, String> {
    let steps = match part {
        NormalizerPart::Lowercase {} => vec![NormalizerStep::Lowercase {}],
        NormalizerPart::Nfc {} => vec![NormalizerStep::Nfc {}],
        NormalizerPart::Nfkc {} => vec![NormalizerStep::Nfkc {}],
        NormalizerPart::Sequence { normalizers } => normalizers,
    };
    let mut normalizer = Normalizer::default();
    for step in steps {
        match step {
            NormalizerStep::Lowercase {} => normalizer.lowercase = true,
            NormalizerStep::Nfc {} | NormalizerStep::Nfkc {} if normalizer.lowercase || normalizer.form.is_some() => {
                return Err("cannot use its normalizer: a Unicode form can only come once and before Lowercase".into());
            }
            NormalizerStep::Nfc {} => normalizer.form = Some(Form::Nfc),
            NormalizerStep::Nfkc {} => normalizer.form = Some(Form::Nfkc),
        }
    }
    Ok(normalizer)
}

/// What [`read_normalizer`] reads as this normalizer.
pub(super) fn write_normalizer(normalizer: Normalizer) -> String {
    let form = normalizer.form.map(|form| match form {
        Form::Nfc => r#"{"type": "NFC"}"#,
        Form::Nfkc => r#"{"type": "NFKC"}"#,
    });
    let lowercase = normalizer.lowercase.then_some(r#"{"type": "Lowercase"}"#);
    match (form, lowercase) {
        (None, None) => "null".into(),
        (Some(one), None) | (None, Some(one)) => one.into(),
        (Some(form), Some(lowercase)) => format!(r#"{{"type": "Sequence", "normalizers": [{form}, {lowercase}]}}"#),
    }
}
