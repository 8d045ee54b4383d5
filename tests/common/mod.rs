//! What the tests of the program share: a folder that goes away, a small text, the program itself.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A temporary folder in which the program runs.
pub struct Home(tempfile::TempDir);

impl Home {
    /// An empty one.
    pub fn empty() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    /// One with a small text, `text.txt`.
    pub fn with_text() -> Home {
        let home = Home::empty();
        home.write("text.txt", small_text());
        home
    }

    /// One with `text.txt` and a model of its words, `model`, trained with one worker.
    pub fn with_model() -> Home {
        let home = Home::with_text();
        home.run(&["train", "text.txt", "-o", "model", "--quiet"].iter().chain(SMALL).copied().collect::<Vec<_>>())
            .done();
        home
    }

    /// The path of `name` in it.
    pub fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.0.path().join(name.as_ref())
    }

    /// Writes a file.
    pub fn write(&self, name: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Reads a file.
    pub fn read(&self, name: impl AsRef<OsStr>) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// The program in this folder, with arguments and without a terminal, to be started.
    pub fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).current_dir(self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// Runs `arguments`, given in one string with spaces between them.
    pub fn say(&self, arguments: &str) -> Ran {
        self.run(&arguments.split(' ').collect::<Vec<_>>())
    }

    /// Runs the program to its end with this standard input.
    pub fn run_with_input(&self, arguments: &[impl AsRef<OsStr>], input: impl AsRef<[u8]>) -> Ran {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let input = input.as_ref().to_vec();
        // Beside, so that neither side waits for the other; the program may well leave before it has read all.
        let writer = std::thread::spawn(move || drop(pipe.write_all(&input)));
        let ran = Ran::of(child.wait_with_output().unwrap());
        writer.join().unwrap();
        ran
    }

    /// Runs a shell line in which `$WORDGROVE` is the program.
    pub fn shell(&self, line: &str) -> Ran {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).env("WORDGROVE", program()).current_dir(self.0.path()).stdin(Stdio::null());
        Ran::of(shell.output().unwrap())
    }

    /// Every file below, with its bytes, by name: what must not change.
    pub fn everything(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        collect(self.0.path(), &mut found);
        found.sort();
        found
    }

    /// The names in the folder, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Runs what must be refused: this exit code, one line of reason with each of `words`, nothing changed on disk.
    pub fn refuses(&self, arguments: &str, code: i32, words: &[&str]) {
        let before = self.everything();
        self.say(arguments).refused(code, words);
        assert!(self.everything() == before, "{arguments}: something on disk has changed: {:?}", self.names());
    }
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.push((path.clone(), Vec::new()));
            collect(&path, found);
        } else if path.is_file() {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
}

/// The program, as it was built for the tests.
fn program() -> &'static str {
    env!("CARGO_BIN_EXE_wordgrove")
}

/// Settings that train [`small_text`] in a blink, always to the same bytes.
pub const SMALL: &[&str] =
    &["--tokens", "word", "--min-count", "1", "--dim", "8", "--epochs", "2", "--threads", "1", "--hold-out", "5%"];

/// A program that has ended.
pub struct Ran {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!err.contains("panicked"), "{err}");
        Ran { code: output.status.code(), out: output.stdout, err }
    }

    /// What it printed on standard output.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Asserts that it ended well.
    #[track_caller]
    pub fn done(self) -> Ran {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    /// The JSON object it printed, having ended well.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let ran = self.done();
        serde_json::from_slice(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.text()))
    }

    /// Asserts that it ended with `code`, printed nothing but one reason, and that the reason holds each of `words`.
    #[track_caller]
    pub fn refused(self, code: i32, words: &[&str]) -> Ran {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert!(self.out.is_empty(), "half an answer: {}", self.text());
        let reasons: Vec<&str> = self.err.lines().filter(|line| line.starts_with("error: ")).collect();
        let [reason] = reasons[..] else { panic!("expected one line that begins with 'error: ':\n{}", self.err) };
        assert!(!reason.contains("os error"), "the system's words: {reason}");
        for word in words {
            assert!(self.err.contains(word), "'{word}' is not in: {}", self.err);
        }
        self
    }
}

/// Waits until `child` has written `words` to its standard error; fails when it ends before.
pub fn wait_for(child: &mut Child, words: &str) {
    let pipe = child.stderr.as_mut().unwrap();
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&seen).contains(words) {
        assert_eq!(pipe.read(&mut byte).unwrap(), 1, "ended before '{words}': {}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
}

/// Sends a signal to `child` by its name: `INT`, `KILL`.
pub fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Two hundred and forty short lines about families and countries, the same every time.
pub fn small_text() -> String {
    let people = [("man", "he", "king", "father"), ("woman", "she", "queen", "mother")];
    let places = [("paris", "france"), ("berlin", "germany"), ("rome", "italy"), ("madrid", "spain")];
    let mut text = String::new();
    for i in 0..30 {
        for (person, pronoun, ruler, parent) in people {
            let (city, country) = places[i % places.len()];
            let (other, _) = places[(i / places.len() + 1) % places.len()];
            text.push_str(&format!("the {person} said that {pronoun} is the {ruler} of {country}\n"));
            text.push_str(&format!("{pronoun} was the {parent} of a child in {city}\n"));
            text.push_str(&format!("{city} is the capital of {country} and not of {other}\n"));
            text.push_str(&format!("the {ruler} and the {parent} went from {other} to {city}\n"));
        }
    }
    text
}
