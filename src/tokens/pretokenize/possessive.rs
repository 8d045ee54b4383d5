//! Repetitions that give nothing back, as plain ones.
//!
//! In: a pattern with possessive repetitions (`\p{L}++`). Out: one without, which matches the same. The one idea: where
//! nothing could be gained by giving back, they are the plain ones:
//! - nothing that must match follows them; or
//! - what follows cannot begin with a character that they repeat: having given one back, it would have to;
//! - or they take line feeds and `$` follows: behind all that they can take, `$` is the end of the text, `\z`.

use regex_syntax::ast::{self, AssertionKind, Ast, RepetitionKind};
use regex_syntax::hir::translate::TranslatorBuilder;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind};

/// The pattern with plain repetitions; the error says which cannot be.
pub(super) fn translate(source: &str, ast: &Ast) -> Result<String, String> {
    let mut reader = Reader { source, ignores_case: source.contains("(?i"), edits: Vec::new() };
    reader.read(ast, &Following::Items(Vec::new()))?;
    let mut translated = source.to_string();
    for (start, end, text) in reader.edits.into_iter().rev() {
        translated.replace_range(start..end, text);
    }
    Ok(translated)
}

struct Reader<'s> {
    source: &'s str,
    /// Whether any part of the pattern does; taking all of it so makes the sets larger, which is the safe side.
    ignores_case: bool,
    /// What to replace by what, ascending.
    edits: Vec<(usize, usize, &'static str)>,
}

/// What a part of a pattern is followed by, up to the end of the pattern.
#[derive(Clone)]
enum Following<'a> {
    Items(Vec<&'a Ast>),
    /// Perhaps by itself again.
    Unknown,
}

impl Reader<'_> {
    fn read(&mut self, ast: &Ast, following: &Following) -> Result<(), String> {
        match ast {
            Ast::Group(group) => self.read(&group.ast, following),
            Ast::Alternation(alternation) => {
                alternation.asts.iter().try_for_each(|alternative| self.read(alternative, following))
            }
            Ast::Concat(concat) => {
                for (at, item) in concat.asts.iter().enumerate() {
                    let rest = match following {
                        Following::Items(outer) => {
                            Following::Items(concat.asts[at + 1..].iter().chain(outer.iter().copied()).collect())
                        }
                        Following::Unknown => Following::Unknown,
                    };
                    self.read(item, &rest)?;
                }
                Ok(())
            }
            Ast::Repetition(outer) => match &*outer.ast {
                Ast::Repetition(inner) => self.read_possessive(outer, inner, following),
                repeated => self.read(repeated, &Following::Unknown),
            },
            _ => Ok(()),
        }
    }

    /// A repetition that is itself repeated without a group between.
    fn read_possessive(
        &mut self,
        outer: &ast::Repetition,
        inner: &ast::Repetition,
        following: &Following,
    ) -> Result<(), String> {
        let shown = &self.source[outer.span.start.offset..outer.span.end.offset];
        let is_plain =
            |repetition: &ast::Repetition| repetition.greedy && !matches!(repetition.op.kind, RepetitionKind::Range(_));
        if outer.op.kind != RepetitionKind::OneOrMore || !is_plain(outer) || !is_plain(inner) {
            return Err(format!(
                "{shown:?} is not used here: some engines repeat the repetition, others never give back what it takes; \
                 write (?:…)+ or leave the last sign away"
            ));
        }
        let cannot =
            || format!("the possessive {shown:?} is not possible here: without the last + it might match more");
        let taken = match self.hir(&inner.ast)?.kind() {
            HirKind::Class(Class::Unicode(class)) => class.clone(),
            HirKind::Literal(literal) => {
                match std::str::from_utf8(&literal.0).map(|text| text.chars().collect::<Vec<_>>()) {
                    Ok(characters) if characters.len() == 1 => one(characters[0]),
                    _ => return Err(cannot()),
                }
            }
            _ => return Err(cannot()),
        };
        let (start, end) = (outer.op.span.start.offset, outer.op.span.end.offset);
        let Following::Items(items) = following else { return Err(cannot()) };
        if let [Ast::Assertion(assertion), ..] = items[..]
            && matches!(assertion.kind, AssertionKind::EndLine | AssertionKind::EndText)
            && assertion.span.start.offset == end
            && holds(&taken, '\n')
        {
            self.edits.push((start, assertion.span.end.offset, r"\z"));
            return Ok(());
        }
        let mut next = ClassUnicode::empty();
        for item in items {
            let (first, may_be_empty) = first(&self.hir(item)?).ok_or_else(cannot)?;
            next.union(&first);
            if !may_be_empty {
                next.intersect(&taken);
                if !next.ranges().is_empty() {
                    return Err(cannot());
                }
                break;
            }
        }
        self.edits.push((start, end, ""));
        Ok(())
    }

    fn hir(&self, ast: &Ast) -> Result<Hir, String> {
        // Items that follow may have possessive repetitions in them: read as repetitions of repetitions, they begin alike.
        let mut translator = TranslatorBuilder::new().case_insensitive(self.ignores_case).build();
        translator.translate(self.source, ast).map_err(|error| error.to_string())
    }
}

/// The characters that a match can begin with, and whether it can be empty; `None` where that is not known.
fn first(hir: &Hir) -> Option<(ClassUnicode, bool)> {
    match hir.kind() {
        HirKind::Empty => Some((ClassUnicode::empty(), true)),
        HirKind::Literal(literal) => Some((one(std::str::from_utf8(&literal.0).ok()?.chars().next()?), false)),
        HirKind::Class(Class::Unicode(class)) => Some((class.clone(), false)),
        HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) => None,
        HirKind::Repetition(repetition) => {
            let (class, may_be_empty) = first(&repetition.sub)?;
            Some((class, may_be_empty || repetition.min == 0))
        }
        HirKind::Capture(capture) => first(&capture.sub),
        HirKind::Concat(parts) => {
            let mut all = ClassUnicode::empty();
            for part in parts {
                let (class, may_be_empty) = first(part)?;
                all.union(&class);
                if !may_be_empty {
                    return Some((all, false));
                }
            }
            Some((all, true))
        }
        HirKind::Alternation(parts) => {
            let (mut all, mut any_empty) = (ClassUnicode::empty(), false);
            for part in parts {
                let (class, may_be_empty) = first(part)?;
                all.union(&class);
                any_empty |= may_be_empty;
            }
            Some((all, any_empty))
        }
    }
}

fn one(character: char) -> ClassUnicode {
    ClassUnicode::new([ClassUnicodeRange::new(character, character)])
}

fn holds(class: &ClassUnicode, character: char) -> bool {
    class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&character))
}
