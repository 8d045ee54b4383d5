//! What a regular expression means, where engines agree about it.
//!
//! In: a pattern as tokenizer files have it. Out: the same for the automaton here. The one idea: such files are made for
//! Oniguruma (Hugging Face), so a pattern may only say what that and the engine here read alike; the rest is refused by
//! name.
//!
//! Their classes have the same characters, but for `\w`: Oniguruma counts `²³¹¼½¾` to it, and not the two characters that
//! join others. So it is written out.
//!
//! Without regard to case Oniguruma takes some letters for two (`ß` for `ss`), and classes in brackets otherwise than
//! alone. So in `(?i:…)` there may only be ASCII characters, and some of them not beside each other.

use regex_syntax::ast::{self, AssertionKind, Ast, ClassSet, ClassSetBinaryOpKind, ClassSetItem, RepetitionKind};

use super::possessive;

/// How deep a pattern may be nested.
const MAX_DEPTH: u32 = 50;

/// Oniguruma's `\w` and `\W`.
const WORD: &str = r"[\w²³¹¼½¾&&[^\x{200C}\x{200D}]]";
const NOT_WORD: &str = r"[^\w²³¹¼½¾&&[^\x{200C}\x{200D}]]";

/// Two letters that may be one to Oniguruma where case has no say.
const LIGATURES: [(char, char); 5] = [('s', 's'), ('s', 't'), ('f', 'f'), ('f', 'i'), ('f', 'l')];

/// The pattern as the automaton must have it; the error says what engines read differently, or not at all.
pub(super) fn translate(source: &str) -> Result<String, String> {
    let mut checker = Checker { source, words: Vec::new() };
    checker.check(&parse(source)?, Case::Told)?;
    let mut translated = source.to_string();
    for (start, end, class) in checker.words.into_iter().rev() {
        translated.replace_range(start..end, class);
    }
    possessive::translate(&translated, &parse(&translated)?)
}

fn parse(source: &str) -> Result<Ast, String> {
    let mut parser = ast::parse::ParserBuilder::new().nest_limit(MAX_DEPTH).build();
    parser.parse(source).map_err(|error| error.to_string())
}

/// Whether `a` and `A` are different in a part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Told,
    Ignored,
}

struct Checker<'s> {
    source: &'s str,
    /// Where there is `\w` or `\W`, and what it stands for; ascending.
    words: Vec<(usize, usize, &'static str)>,
}

impl Checker<'_> {
    /// Checks a part of the pattern.
    fn check(&mut self, ast: &Ast, case: Case) -> Result<(), String> {
        match ast {
            Ast::Empty(_) | Ast::Dot(_) => Ok(()),
            Ast::Literal(literal) => self.check_literal(literal, case),
            Ast::ClassUnicode(class) => self.check_property(class, case),
            Ast::ClassPerl(class) => self.check_letter_class(class, case),
            Ast::ClassBracketed(class) => self.check_set(&class.kind, case),
            Ast::Flags(flags) if flags.span.start.offset > 0 => {
                self.refuse(&flags.span, "engines differ in how far it reaches; write (?i:…)")
            }
            Ast::Flags(flags) => case_after(&flags.flags, case).map(drop),
            Ast::Assertion(assertion) => self.check_assertion(assertion),
            Ast::Group(group) => match &group.kind {
                ast::GroupKind::NonCapturing(flags) => self.check(&group.ast, case_after(flags, case)?),
                ast::GroupKind::CaptureName { starts_with_p: true, .. } => {
                    self.refuse(&group.span, "other engines do not know (?P<…>; write (?:…)")
                }
                _ => self.check(&group.ast, case),
            },
            Ast::Alternation(alternation) => alternation.asts.iter().try_for_each(|ast| self.check(ast, case)),
            Ast::Concat(concat) => self.check_sequence(concat, case),
            Ast::Repetition(repetition) => {
                // Of one that is repeated itself possessive.rs has more to say.
                let is_exact = matches!(repetition.op.kind, RepetitionKind::Range(ast::RepetitionRange::Exactly(_)));
                if is_exact && !repetition.greedy {
                    return self.refuse(&repetition.span, "a ? behind {n} has two meanings");
                }
                self.check(&repetition.ast, case)
            }
        }
    }

    fn refuse(&self, span: &ast::Span, why: &str) -> Result<(), String> {
        Err(format!("{:?} is not used here: {why}", &self.source[span.start.offset..span.end.offset]))
    }

    fn check_sequence(&mut self, concat: &ast::Concat, mut case: Case) -> Result<(), String> {
        let mut before = None;
        for (at, item) in concat.asts.iter().enumerate() {
            // The `$` behind a possessive repetition is dealt with there.
            let is_possessive =
                |ast: &Ast| matches!(ast, Ast::Repetition(outer) if matches!(&*outer.ast, Ast::Repetition(_)));
            let is_line_end = matches!(item, Ast::Assertion(found) if found.kind == AssertionKind::EndLine);
            if !(is_line_end && at > 0 && is_possessive(&concat.asts[at - 1])) {
                self.check(item, case)?;
            }
            if let Ast::Flags(flags) = item {
                case = case_after(&flags.flags, case)?;
            }
            let letter = letter(item).filter(|_| case == Case::Ignored);
            if let (Some(before), Some(letter)) = (before, letter)
                && LIGATURES.contains(&(before, letter))
            {
                return self.refuse(
                    &concat.span,
                    &format!("without regard to case, \"{before}{letter}\" is also one letter to other engines"),
                );
            }
            before = letter;
        }
        Ok(())
    }

    fn check_assertion(&self, assertion: &ast::Assertion) -> Result<(), String> {
        let why = match assertion.kind {
            AssertionKind::StartText | AssertionKind::EndText => return Ok(()),
            AssertionKind::StartLine | AssertionKind::EndLine => {
                r"it is the end of a line to some and of the text to others; write \A or \z"
            }
            AssertionKind::WordBoundary | AssertionKind::NotWordBoundary => "engines differ in what a word is",
            _ => "other engines do not know it",
        };
        self.refuse(&assertion.span, why)
    }

    fn check_literal(&self, literal: &ast::Literal, case: Case) -> Result<(), String> {
        use ast::HexLiteralKind::{UnicodeLong, X};
        let why = match &literal.kind {
            ast::LiteralKind::HexFixed(X) if !literal.c.is_ascii() => "it is a byte to some; write \\x{…}",
            ast::LiteralKind::HexFixed(UnicodeLong) => "other engines do not know it; write \\x{…}",
            ast::LiteralKind::HexBrace(kind) if *kind != X => "other engines do not know it; write \\x{…}",
            _ if case == Case::Ignored && !literal.c.is_ascii() => {
                "engines differ in what it is without regard to case; write each letter, as [éÉ]"
            }
            _ => return Ok(()),
        };
        self.refuse(&literal.span, why)
    }

    /// `\p{…}`.
    fn check_property(&self, class: &ast::ClassUnicode, case: Case) -> Result<(), String> {
        let why = match &class.kind {
            ast::ClassUnicodeKind::OneLetter(_) => "other engines do not read it as a class; write \\p{…}",
            ast::ClassUnicodeKind::Named(name) if name.trim().to_ascii_lowercase().starts_with("is") => {
                "other engines do not know it; leave out the Is"
            }
            ast::ClassUnicodeKind::NamedValue { .. } => "other engines do not know it; write the value alone",
            _ if case == Case::Ignored => IGNORES_CASE,
            _ => return Ok(()),
        };
        self.refuse(&class.span, why)
    }

    /// `\d`, `\s`, `\w`.
    fn check_letter_class(&mut self, class: &ast::ClassPerl, case: Case) -> Result<(), String> {
        if case == Case::Ignored {
            return self.refuse(&class.span, IGNORES_CASE);
        }
        if class.kind == ast::ClassPerlKind::Word {
            let class_of = if class.negated { NOT_WORD } else { WORD };
            self.words.push((class.span.start.offset, class.span.end.offset, class_of));
        }
        Ok(())
    }

    /// What is in brackets.
    fn check_set(&mut self, set: &ClassSet, case: Case) -> Result<(), String> {
        match set {
            ClassSet::Item(item) => self.check_item(item, case),
            ClassSet::BinaryOp(operation) => {
                if operation.kind != ClassSetBinaryOpKind::Intersection {
                    return Err(
                        "-- and ~~ in a class are characters to other engines; write them with a backslash".into()
                    );
                }
                self.check_set(&operation.lhs, case)?;
                self.check_set(&operation.rhs, case)
            }
        }
    }

    fn check_item(&mut self, item: &ClassSetItem, case: Case) -> Result<(), String> {
        match item {
            ClassSetItem::Empty(_) => Ok(()),
            ClassSetItem::Literal(literal) => self.check_literal(literal, case),
            ClassSetItem::Range(range) => {
                self.check_literal(&range.start, case)?;
                self.check_literal(&range.end, case)
            }
            ClassSetItem::Ascii(_) => Err("classes like [:alpha:] differ between engines; write \\p{…}".into()),
            ClassSetItem::Unicode(class) => self.check_property(class, case),
            ClassSetItem::Perl(class) => self.check_letter_class(class, case),
            ClassSetItem::Bracketed(class) => self.check_set(&class.kind, case),
            ClassSetItem::Union(union) => union.items.iter().try_for_each(|item| self.check_item(item, case)),
        }
    }
}

const IGNORES_CASE: &str = "engines differ in what it is without regard to case; put it outside of (?i:…)";

/// The letter that an item of a sequence is, in lower case.
fn letter(ast: &Ast) -> Option<char> {
    match ast {
        Ast::Literal(literal) => Some(literal.c.to_ascii_lowercase()),
        Ast::Group(group) => letter(&group.ast),
        _ => None,
    }
}

/// Whether case has a say behind, or within, these flags.
fn case_after(flags: &ast::Flags, mut case: Case) -> Result<Case, String> {
    let mut now = Case::Ignored;
    for item in &flags.items {
        match item.kind {
            ast::FlagsItemKind::Negation => now = Case::Told,
            ast::FlagsItemKind::Flag(ast::Flag::CaseInsensitive) => case = now,
            _ => return Err("flags other than i have other meanings in other engines".into()),
        }
    }
    Ok(case)
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
            (r"a++\z", "possessive"),
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
            (r"\bx", "what a word is"),
            (r"x\B", "what a word is"),
            (r"\<x", "do not know"),
            (r"\pL+", r"write \p{…}"),
            (r"[\pN]", r"write \p{…}"),
            (r"\p{Script=Han}", "the value alone"),
            (r"\p{sc:Greek}", "the value alone"),
            (r"[^\p{IsHan}]", "leave out the Is"),
            (r"(?P<n>a)", "(?P<"),
            (r"\u{41}", r"\x{…}"),
            (r"\U00000041", r"\x{…}"),
            (r"\xe9", r"\x{…}"),
            (r"[a-\xe9]", r"\x{…}"),
            (r"(?i:ss)", "one letter"),
            (r"(?i)grass|a", "one letter"),
            (r"(?i:(?:F)i)", "one letter"),
            (r"(?i:ß)", "without regard to case"),
            (r"(?i:[a-zß])", "without regard to case"),
            (r"(?i:\p{Lu})", "without regard to case"),
            (r"(?i:a|\w)", "without regard to case"),
            (r"(", "unclosed"),
        ];
        for (pattern, reason) in cases {
            let error = translate(pattern).unwrap_err();
            assert!(error.contains(reason), "{pattern}: {error}");
        }
        assert!(translate(&"(".repeat(100_000)).is_err());
        for pattern in [
            r"[\p{L}&&[^\p{Han}]]+|(?<n>a)|\A\x41\z|[^\n]",
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|'(?i:[sdmt]|ll|ve|re)|(?i:s)s|s(?i:t)|(?i:s[st])",
        ] {
            assert_eq!(translate(pattern).as_deref(), Ok(pattern));
        }
        assert_eq!(translate(r"\w+|[^\W_]"), Ok(format!("{WORD}+|[^{NOT_WORD}_]")));
    }
}
