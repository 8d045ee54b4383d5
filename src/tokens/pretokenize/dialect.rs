//! What a regular expression means, where engines agree about it.
//!
//! In: a pattern as tokenizer files have it. Out: the same for the `regex` crate. The one idea: such files are made for
//! Oniguruma (Hugging Face) or for fancy-regex (tiktoken), so a pattern may only say what both of them and the engine
//! here read alike; the rest is refused by name.
//!
//! Possessive repetitions (`\p{L}++`) say that nothing is given back once it is taken. Where nothing could be gained by
//! giving back, they are the plain ones, and that is how they get through:
//! - nothing that must match follows them; or
//! - what follows cannot begin with a character that they repeat: having given one back, it would have to;
//! - or they take line feeds and `$` follows: behind all that they can take, `$` is the end of the text, `\z`.

use regex_syntax::ast::{self, AssertionKind, Ast, ClassSet, ClassSetBinaryOpKind, ClassSetItem, RepetitionKind};
use regex_syntax::hir::translate::TranslatorBuilder;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind};

/// How deep a pattern may be nested.
const MAX_DEPTH: u32 = 50;

/// The pattern as the `regex` crate must have it; the error says what engines read differently, or not at all.
pub(super) fn translate(source: &str) -> Result<String, String> {
    let mut parser = ast::parse::ParserBuilder::new().nest_limit(MAX_DEPTH).build();
    let ast = parser.parse(source).map_err(|error| error.to_string())?;
    let mut reader = Reader { source, ignores_case: source.contains("(?i"), edits: Vec::new() };
    reader.read(&ast, &Following::Items(Vec::new()))?;
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
        let refuse = |span: &ast::Span, why: &str| {
            Err(format!("{:?} is not used here: {why}", &self.source[span.start.offset..span.end.offset]))
        };
        match ast {
            Ast::Empty(_) | Ast::Literal(_) | Ast::Dot(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) => Ok(()),
            Ast::Flags(flags) if flags.span.start.offset > 0 => {
                refuse(&flags.span, "engines differ in how far it reaches; write (?i:…)")
            }
            Ast::Flags(flags) => check_flags(&flags.flags),
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::StartText
                | AssertionKind::EndText
                | AssertionKind::WordBoundary
                | AssertionKind::NotWordBoundary => Ok(()),
                AssertionKind::StartLine | AssertionKind::EndLine => refuse(
                    &assertion.span,
                    r"it is the end of a line to some and of the text to others; write \A or \z",
                ),
                _ => refuse(&assertion.span, "other engines do not know it"),
            },
            Ast::ClassBracketed(class) => check_class(&class.kind),
            Ast::Group(group) => {
                if let ast::GroupKind::NonCapturing(flags) = &group.kind {
                    check_flags(flags)?;
                }
                self.read(&group.ast, following)
            }
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
                    // The `$` behind a possessive repetition has been dealt with there.
                    let is_done = matches!(item, Ast::Assertion(assertion)
                        if self.edits.last().is_some_and(|&(_, end, _)| end == assertion.span.end.offset));
                    if !is_done {
                        self.read(item, &rest)?;
                    }
                }
                Ok(())
            }
            Ast::Repetition(outer) => match &*outer.ast {
                Ast::Repetition(inner) => self.read_possessive(outer, inner, following),
                repeated => {
                    if !outer.greedy
                        && matches!(&outer.op.kind, RepetitionKind::Range(ast::RepetitionRange::Exactly(_)))
                    {
                        return refuse(&outer.span, "a ? behind {n} has two meanings");
                    }
                    self.read(repeated, &Following::Unknown)
                }
            },
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

fn check_flags(flags: &ast::Flags) -> Result<(), String> {
    let other = flags.items.iter().find(|item| {
        !matches!(item.kind, ast::FlagsItemKind::Flag(ast::Flag::CaseInsensitive) | ast::FlagsItemKind::Negation)
    });
    other.map_or(Ok(()), |_| Err("flags other than i have other meanings in other engines".into()))
}

fn check_class(set: &ClassSet) -> Result<(), String> {
    match set {
        ClassSet::Item(item) => check_item(item),
        ClassSet::BinaryOp(operation) => {
            if operation.kind != ClassSetBinaryOpKind::Intersection {
                return Err("-- and ~~ in a class are characters to other engines; write them with a backslash".into());
            }
            check_class(&operation.lhs)?;
            check_class(&operation.rhs)
        }
    }
}

fn check_item(item: &ClassSetItem) -> Result<(), String> {
    match item {
        ClassSetItem::Ascii(_) => Err("classes like [:alpha:] differ between engines; write \\p{…}".into()),
        ClassSetItem::Bracketed(class) => check_class(&class.kind),
        ClassSetItem::Union(union) => union.items.iter().try_for_each(check_item),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possessive_repetitions_that_change_nothing_are_plain() {
        let cases = [
            (r"\p{L}++", r"\p{L}+"),
            (
                r"[^\r\n\p{L}\p{N}]?+\p{L}++| ?[^\s\p{L}\p{N}]++[\r\n]*+",
                r"[^\r\n\p{L}\p{N}]?\p{L}+| ?[^\s\p{L}\p{N}]+[\r\n]*",
            ),
            (r"\s++$|\s*[\r\n]", r"\s+\z|\s*[\r\n]"),
            (r"\s++\z", r"\s+\z"),
            (r"(?:a++|b)c", "(?:a+|b)c"),
            (r"a++b?a*", r"a+b?a*"),
            (r"(?i:a++)b", "(?i:a+)b"),
        ];
        for (pattern, plain) in cases {
            assert_eq!(translate(pattern).as_deref(), Ok(plain), "{pattern}");
        }
    }

    #[test]
    fn what_engines_read_differently_is_refused() {
        let cases = [
            (r"a++a", "possessive"),
            (r"\w++1", "possessive"),
            (r"(?i:k++)K", "possessive"),
            (r"(?:ab)++c", "possessive"),
            (r"(?:a++b?)*a", "possessive"),
            (r"a++\b", "possessive"),
            (r"[a-z]++$", "possessive"),
            (r"\p{N}{1,3}+", "some engines repeat"),
            (r"a?*", "some engines repeat"),
            (r"a$", "end of a line"),
            (r"^a", "end of a line"),
            (r"\b{start}a", "do not know"),
            (r"a(?i)b|c", "how far"),
            (r"(?s:a.b)", "flags"),
            (r"(?m)a", "flags"),
            (r"[a-z--b]", "--"),
            (r"[[:alpha:]]", "[:alpha:]"),
            (r"a{2}?", "two meanings"),
            (r"(", "unclosed"),
        ];
        for (pattern, reason) in cases {
            let error = translate(pattern).unwrap_err();
            assert!(error.contains(reason), "{pattern}: {error}");
        }
        assert!(translate(&"(".repeat(100_000)).is_err());
        assert!(translate(r"(?i)[\p{L}&&[^\p{Han}]]+|\bx\B").is_ok());
    }
}
