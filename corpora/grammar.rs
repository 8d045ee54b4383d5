//! Text from a grammar: the engine behind the corpora that we ship.
//!
//! In: a grammar file and a seed. Out: paragraphs, one per line, always the same ones; and questions about them.
//!
//! A grammar is made of blocks, apart by empty lines; `#` begins a comment.
//!
//! ```text
//! list food                                        alternatives, apart by semicolons or line ends
//! soup; bread
//!
//! table animal: animal, sound, home                a row per thing, a column per word that belongs to it
//! dog | barks | in the kennel; in the yard         a cell may hold alternatives
//!
//! pool animal                                      templates that all topics about the table share
//! The {animal} is hungry.
//!
//! topic animal paragraphs=20 sentences=3-5         so many paragraphs about every row
//! The {animal} {sound} {home}.                     a template: {slot} and [one|or|another]
//! {x=food} is what it wants, only {x}.             a choice that is kept for the paragraph
//! + It is fed with {food}.                         a template that cannot begin a paragraph
//!
//! topic animal group=wild ...                      only the rows with that cell
//!
//! section sounds animal.animal animal.sound        a section of analogy questions
//! section gender person.person by group            the two rows of every group
//! ```
//!
//! A slot is a kept choice, a column of the row, a column of the row in another table that a column of the same name
//! leads to, or a list; in that order.

use std::collections::BTreeMap;

/// The generator of Steele, Lea and Flood (2014), SplitMix64: three lines that will give the same numbers for ever.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// A random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

type Template = Vec<Part>;

#[derive(Debug)]
enum Part {
    Text(String),
    Slot { keep_as: Option<String>, name: String },
    Choice(Vec<Template>),
}

/// How the sentences of a language are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Words apart by spaces, a capital at the start, `an` before a vowel.
    English,
    /// No spaces, no cases.
    Chinese,
}

/// A parsed grammar file.
#[derive(Default)]
pub struct Grammar {
    lists: BTreeMap<String, Vec<Template>>,
    tables: BTreeMap<String, Table>,
    pools: BTreeMap<String, Vec<(bool, Template)>>,
    topics: Vec<Topic>,
    sections: Vec<(String, Vec<String>)>,
}

struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Vec<Template>>>,
}

struct Topic {
    table: String,
    only: Option<(String, String)>,
    paragraphs: usize,
    sentences: (usize, usize),
    templates: Vec<(bool, Template)>,
}

impl Grammar {
    /// Reads a grammar; panics with the block that it does not understand, for it is part of the program.
    pub fn parse(text: &str) -> Grammar {
        let mut grammar = Grammar::default();
        for block in text.split("\n\n") {
            let lines: Vec<&str> =
                block.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
            let Some((head, lines)) = lines.split_first() else { continue };
            let (kind, rest) = head.split_once(' ').unwrap_or_else(|| panic!("what is this block: {head}"));
            match kind {
                "list" => {
                    let items = lines.iter().flat_map(|line| alternatives(line)).collect();
                    grammar.lists.insert(rest.to_string(), items);
                }
                "table" => {
                    let (name, columns) =
                        rest.split_once(':').unwrap_or_else(|| panic!("a table without columns: {head}"));
                    let columns: Vec<String> = columns.split(',').map(|column| column.trim().to_string()).collect();
                    let row = |line: &&str| -> Vec<Vec<Template>> { line.split(" | ").map(alternatives).collect() };
                    let rows: Vec<_> = lines.iter().map(row).collect();
                    for (row, line) in rows.iter().zip(lines) {
                        assert_eq!(row.len(), columns.len(), "cells in {line}");
                    }
                    grammar.tables.insert(name.to_string(), Table { columns, rows });
                }
                "pool" => {
                    grammar.pools.insert(rest.to_string(), lines.iter().map(|line| parse_template(line)).collect());
                }
                "topic" => grammar.topics.push(parse_topic(rest, lines)),
                "section" => {
                    for line in std::iter::once(head).chain(lines) {
                        let mut words = line.split(' ').skip(1).map(str::to_string);
                        let name = words.next().unwrap_or_else(|| panic!("a section without a name: {line}"));
                        grammar.sections.push((name, words.collect()));
                    }
                }
                _ => panic!("what is this block: {head}"),
            }
        }
        grammar
    }

    /// The text: every topic as often as it says, in random order.
    pub fn text(&self, script: Script, random: &mut Random) -> String {
        let mut paragraphs = Vec::new();
        for topic in &self.topics {
            let table = self.table(&topic.table);
            for row in 0..table.rows.len() {
                let wanted =
                    topic.only.as_ref().is_none_or(|(column, value)| self.cell(&topic.table, row, column) == *value);
                for _ in 0..if wanted { topic.paragraphs } else { 0 } {
                    paragraphs.push(self.paragraph(topic, row, script, random));
                }
            }
        }
        random.shuffle(&mut paragraphs);
        paragraphs.iter().flat_map(|paragraph| [paragraph.as_str(), "\n"]).collect()
    }

    /// The sections of questions: pairs of words in the same relation.
    pub fn sections(&self) -> Vec<(String, Vec<[String; 2]>)> {
        let pairs = |columns: &[String]| -> Vec<[String; 2]> {
            let split = |name: &str| -> (String, String) {
                let (table, column) = name.split_once('.').unwrap_or_else(|| panic!("table.column, not {name}"));
                (table.to_string(), column.to_string())
            };
            let (table, first) = split(&columns[0]);
            let rows = 0..self.table(&table).rows.len();
            if columns[1] == "by" {
                let group = |row| self.cell(&table, row, &columns[2]);
                let partner = |row: usize| (row + 1..rows.end).find(|&other| group(other) == group(row));
                let pair = |row| Some([self.cell(&table, row, &first), self.cell(&table, partner(row)?, &first)]);
                return rows.clone().filter_map(pair).collect();
            }
            let (_, second) = split(&columns[1]);
            rows.map(|row| [self.cell(&table, row, &first), self.cell(&table, row, &second)]).collect()
        };
        self.sections.iter().map(|(name, columns)| (name.clone(), pairs(columns))).collect()
    }

    /// The only alternative in a cell.
    pub fn cell(&self, table: &str, row: usize, column: &str) -> String {
        let table = self.table(table);
        let at = table.columns.iter().position(|name| name == column).unwrap_or_else(|| panic!("no column {column}"));
        match table.rows[row][at].as_slice() {
            [template] => match template.as_slice() {
                [Part::Text(text)] => text.clone(),
                _ => panic!("a cell of {column} is no plain text"),
            },
            _ => panic!("a cell of {column} has alternatives"),
        }
    }

    fn table(&self, name: &str) -> &Table {
        self.tables.get(name).unwrap_or_else(|| panic!("no table {name}"))
    }

    fn paragraph(&self, topic: &Topic, row: usize, script: Script, random: &mut Random) -> String {
        let mut writer =
            Writer { grammar: self, table: &topic.table, row, kept: BTreeMap::new(), last: BTreeMap::new() };
        let pool = self.pools.get(&topic.table).map_or(&[] as &[(bool, Template)], Vec::as_slice);
        let (least, most) = topic.sentences;
        let n_sentences = least + random.below(most - least + 1);
        let mut used = Vec::new();
        let mut paragraph = String::new();
        while used.len() < n_sentences {
            // A third of what is said of someone could be said of anyone.
            let templates = if !pool.is_empty() && random.below(3) == 0 { pool } else { &topic.templates };
            let (can_begin, template) = &templates[random.below(templates.len())];
            if used.iter().any(|&other| std::ptr::eq(other, template)) || (used.is_empty() && !can_begin) {
                continue;
            }
            used.push(template);
            let mut sentence = String::new();
            writer.write(template, &mut sentence, random);
            if script == Script::English {
                sentence = with_articles(&with_capital(&sentence));
                if !paragraph.is_empty() {
                    paragraph.push(' ');
                }
            }
            paragraph.push_str(&sentence);
        }
        paragraph
    }
}

fn alternatives(cell: &str) -> Vec<Template> {
    cell.split(';').map(str::trim).filter(|item| !item.is_empty()).map(|item| parse_template(item).1).collect()
}

fn parse_topic(head: &str, lines: &[&str]) -> Topic {
    let mut words = head.split(' ');
    let table = words.next().unwrap_or_default().to_string();
    let mut topic = Topic { table, only: None, paragraphs: 0, sentences: (0, 0), templates: Vec::new() };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("key=value, not {word}"));
        let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("a number, not {text}"));
        match key {
            "paragraphs" => topic.paragraphs = number(value),
            "sentences" => {
                let (least, most) = value.split_once('-').unwrap_or((value, value));
                topic.sentences = (number(least), number(most));
            }
            column => topic.only = Some((column.to_string(), value.to_string())),
        }
    }
    topic.templates = lines.iter().map(|line| parse_template(line)).collect();
    assert!(topic.templates.len() > topic.sentences.1, "too few templates for {head}");
    topic
}

/// A template, and whether it can begin a paragraph.
fn parse_template(line: &str) -> (bool, Template) {
    let (can_begin, line) = line.strip_prefix("+ ").map_or((true, line), |line| (false, line));
    let mut rest = line;
    let template = parse_parts(&mut rest);
    assert!(rest.is_empty(), "one bracket too many: {line}");
    (can_begin, template)
}

/// Reads up to the end or to a `|` or `]` that is not ours.
fn parse_parts(rest: &mut &str) -> Template {
    let mut parts = Vec::new();
    while let Some(at) = rest.find(['{', '[', '|', ']']) {
        let sign = rest.as_bytes()[at];
        if at > 0 {
            parts.push(Part::Text(rest[..at].to_string()));
        }
        *rest = &rest[at..];
        if sign == b'|' || sign == b']' {
            return parts;
        }
        *rest = &rest[1..];
        if sign == b'{' {
            let (slot, behind) = rest.split_once('}').unwrap_or_else(|| panic!("a slot without an end: {rest}"));
            let (keep_as, name) = match slot.split_once('=') {
                Some((keep_as, name)) => (Some(keep_as.to_string()), name),
                None => (None, slot),
            };
            parts.push(Part::Slot { keep_as, name: name.to_string() });
            *rest = behind;
            continue;
        }
        let mut choices = vec![parse_parts(rest)];
        while let Some(behind) = rest.strip_prefix('|') {
            *rest = behind;
            choices.push(parse_parts(rest));
        }
        *rest = rest.strip_prefix(']').unwrap_or_else(|| panic!("a choice without an end: {rest}"));
        parts.push(Part::Choice(choices));
    }
    if !rest.is_empty() {
        parts.push(Part::Text(std::mem::take(rest).to_string()));
    }
    parts
}

/// Fills the slots of one paragraph.
struct Writer<'a> {
    grammar: &'a Grammar,
    table: &'a str,
    row: usize,
    /// What `{x=…}` became.
    kept: BTreeMap<&'a str, String>,
    /// Which alternative a slot took last, so that it takes another one next.
    last: BTreeMap<&'a str, usize>,
}

impl<'a> Writer<'a> {
    fn write(&mut self, template: &'a [Part], out: &mut String, random: &mut Random) {
        for part in template {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Choice(choices) => self.write(&choices[random.below(choices.len())], out, random),
                Part::Slot { keep_as: None, name } => match self.kept.get(name.as_str()) {
                    Some(kept) => out.push_str(kept),
                    None => self.write_slot(name, out, random),
                },
                Part::Slot { keep_as: Some(key), name } => {
                    if !self.kept.contains_key(key.as_str()) {
                        let mut value = String::new();
                        // Two people in a paragraph have two names, if a few tries find them.
                        for _ in 0..8 {
                            value.clear();
                            self.write_slot(name, &mut value, random);
                            if self.kept.values().all(|other| *other != value) {
                                break;
                            }
                        }
                        self.kept.insert(key, value);
                    }
                    out.push_str(&self.kept[key.as_str()]);
                }
            }
        }
    }

    fn write_slot(&mut self, name: &'a str, out: &mut String, random: &mut Random) {
        let grammar = self.grammar;
        let choices = self.column(self.table, self.row, name).or_else(|| grammar.lists.get(name));
        let choices = choices.unwrap_or_else(|| panic!("nothing is called {name}"));
        let mut at = random.below(choices.len());
        if choices.len() > 1 && self.last.get(name) == Some(&at) {
            at = (at + 1) % choices.len();
        }
        self.last.insert(name, at);
        self.write(&choices[at], out, random);
    }

    fn column(&self, table: &str, row: usize, name: &str) -> Option<&'a Vec<Template>> {
        let content = self.grammar.table(table);
        if let Some(at) = content.columns.iter().position(|column| column == name) {
            return Some(&content.rows[row][at]);
        }
        // A column that is called like another table leads there.
        content.columns.iter().filter(|column| *column != table && self.grammar.tables.contains_key(*column)).find_map(
            |other| {
                let key = self.grammar.cell(table, row, other);
                let there = (0..self.grammar.table(other).rows.len())
                    .find(|&row| self.grammar.cell(other, row, other) == key)?;
                self.column(other, there, name)
            },
        )
    }
}

/// The first letter as a capital, also behind a quotation mark.
fn with_capital(sentence: &str) -> String {
    let at = sentence.find(char::is_alphabetic).unwrap_or(0);
    let mut rest = sentence[at..].chars();
    let first = rest.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{}{first}{}", &sentence[..at], rest.as_str())
}

/// `an` where the next word begins with a vowel as it is spoken.
fn with_articles(sentence: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    for word in sentence.split(' ') {
        let sound = word.trim_start_matches('"').to_lowercase();
        let vowel =
            sound.starts_with(['a', 'e', 'i', 'o', 'u']) || sound.starts_with("honest") || sound.starts_with("hour");
        let consonant = ["eu", "uni", "use", "one", "ewe"].iter().any(|start| sound.starts_with(start));
        if let Some(article) = out.last_mut()
            && matches!(article.as_str(), "a" | "A" | "\"A")
            && vowel
            && !consonant
        {
            article.push('n');
        }
        out.push(word.to_string());
    }
    out.join(" ")
}
