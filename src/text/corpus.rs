//! A corpus: files, folders, standard input.
//!
//! In: paths. Out: the text in chunks, on as many threads as there are, in the order of the text. While the workers
//! have one batch of chunks, the next one is read (and decompressed), and the results of the one before are collected.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::files::FileBytes;
use crate::progress::{Event, Progress, Silent};
use crate::text::chunks::{CHUNK_SIZES, Chunk, ChunkSizes, LongLines};
use crate::text::reader::{Batch, ChunkReader};
use crate::text::reporter::Reporter;
use crate::text::source::Source;

/// Text to train on: one file after the other, a sentence per line.
///
/// Any bytes are text, valid UTF-8 or not; only a byte order mark at the start of a file is left out. `\n` and `\r\n`
/// end a line, and so does the end of a file. What is compressed with gzip, zstd or xz is recognised by its first bytes
/// and decompressed on every pass. Files of other kinds are refused by name.
///
/// Plain files are mapped: do not cut them short meanwhile. It is noticed before a chunk is read, but a file that is
/// cut short while a chunk is read makes the operating system end the process.
#[derive(Debug)]
pub struct Corpus {
    sources: Vec<Source>,
    sizes: ChunkSizes,
}

impl Corpus {
    /// Opens files, folders and `-`, standard input.
    ///
    /// A folder stands for the regular files in it and below it, sorted by path; what begins with a dot is left out, and
    /// so are folders behind symbolic links. Standard input and named pipes are copied to a temporary file, since a
    /// corpus is read more than once.
    ///
    /// # Errors
    /// [`Error::Io`] for what is missing or cannot be read; [`Error::Format`] for a file that is no text, or when there
    /// is nothing in any of them; [`Error::Config`] without paths or with `-` twice.
    pub fn open(paths: &[PathBuf]) -> Result<Corpus> {
        Corpus::open_with(paths, &Silent)
    }

    /// [`open`](Corpus::open), reporting while standard input or a pipe is copied, and stopping there when asked.
    pub fn open_with(paths: &[PathBuf], progress: &dyn Progress) -> Result<Corpus> {
        let mut sources = Vec::new();
        for path in paths {
            if path == Path::new("-") {
                if sources.iter().any(|source: &Source| source.path == *path) {
                    return Err(Error::config("text", "standard input (-) is given twice, it can be read only once"));
                }
                sources.push(Source::spool(path, std::io::stdin(), progress)?);
                continue;
            }
            let metadata = fs::metadata(path).map_err(Error::io(path))?;
            if metadata.is_dir() {
                let files = files_below(path)?;
                if files.is_empty() {
                    return Err(Error::format(path, "the folder holds no files (hidden ones are left out)"));
                }
                for file in files {
                    sources.push(Source::file(&file)?);
                }
            } else if metadata.is_file() {
                sources.push(Source::file(path)?);
            } else {
                let input = fs::File::open(path).map_err(Error::io(path))?;
                sources.push(Source::spool(path, input, progress)?);
            }
        }
        if sources.is_empty() {
            return Err(Error::config(
                "text",
                "no file is given; give one or more files, folders, or - for standard input",
            ));
        }
        let corpus = Corpus { sources, sizes: CHUNK_SIZES };
        if corpus.size_bytes() == 0 {
            return Err(corpus.no_words());
        }
        Ok(corpus)
    }

    /// A corpus of a text in memory.
    pub fn from_text(text: impl Into<Vec<u8>>) -> Corpus {
        let source = Source::held(Path::new("(text in memory)"), FileBytes::from(text.into()));
        Corpus { sources: vec![source], sizes: CHUNK_SIZES }
    }

    /// How many bytes the files have as they are on disk.
    pub fn size_bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.size_bytes).sum()
    }

    /// The path of one of its files, by its number, for messages; `-` is standard input.
    ///
    /// # Panics
    /// When there are fewer files.
    pub fn path(&self, file: usize) -> &Path {
        &self.sources[file].path
    }

    /// The error for a corpus in which a tokenizer found nothing.
    pub fn no_words(&self) -> Error {
        let others = match self.sources.len() {
            0 | 1 => String::new(),
            2 => " in this file and one other".to_string(),
            n => format!(" in this file and {} others", n - 1),
        };
        Error::format(self.path(0), format!("no words found{others}: the text is empty or only white space"))
    }

    /// The same text in chunks of a few bytes.
    #[cfg(test)]
    pub(crate) fn in_small_chunks(mut self, target: usize) -> Corpus {
        self.sizes.target = target;
        self
    }

    /// [`for_each_chunk_with`](Corpus::for_each_chunk_with) lines that are cut where they are longer than a chunk.
    ///
    /// # Errors
    /// The same.
    ///
    /// # Example
    /// ```
    /// use wordgrove::{Silent, text::Corpus};
    /// let corpus = Corpus::from_text("one line\nand another\n");
    /// let mut n_lines = 0;
    /// corpus.for_each_chunk("counting lines", &Silent, |chunk| chunk.lines().count(), |n| {
    ///     n_lines += n;
    ///     Ok(())
    /// })?;
    /// assert_eq!(n_lines, 2);
    /// # Ok::<(), wordgrove::Error>(())
    /// ```
    pub fn for_each_chunk<T: Send>(
        &self,
        stage: &'static str,
        progress: &dyn Progress,
        work: impl Fn(&Chunk) -> T + Sync,
        collect: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        self.for_each_chunk_with(LongLines::Cut, stage, progress, work, collect)
    }

    /// Calls `work` for every chunk on rayon's threads, and `collect` on this thread with the results, in the order of
    /// the text.
    ///
    /// A few batches of chunks are in memory at a time, each about two megabytes for every thread. Between batches
    /// `progress` hears of `stage` how many bytes of the files on disk are done, and may stop the work. It also hears when
    /// a line was so long, and had no place to cut it, that it was cut all the same.
    ///
    /// # Errors
    /// What `collect` returns; [`Error::Format`] for a compressed stream that is damaged or a file that became shorter;
    /// [`Error::Interrupted`].
    pub fn for_each_chunk_with<T: Send>(
        &self,
        long_lines: LongLines,
        stage: &'static str,
        progress: &dyn Progress,
        work: impl Fn(&Chunk) -> T + Sync,
        mut collect: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let mut reader = ChunkReader::new(&self.sources, long_lines, self.sizes);
        let work = |chunk: &Chunk| {
            chunk.check()?;
            let result = work(chunk);
            // Peak memory should be what the work needs, not the size of the corpus.
            chunk.release();
            Ok(result)
        };
        let mut batch = reader.next_batch()?;
        let mut results: Vec<T> = Vec::new();
        let mut results_end = 0;
        let mut reporter = Reporter::new(stage, Some(self.size_bytes()), progress);
        let mut is_told = false;
        while !batch.chunks.is_empty() || !results.is_empty() {
            if progress.stop_requested() {
                return Err(Error::Interrupted(format!(" while {stage}")));
            }
            if let Some(file) = batch.torn.filter(|_| !is_told) {
                is_told = true;
                progress.report(&Event::Warning(&format!(
                    "{}: a line without a place to cut it for {} MiB was cut all the same: it may have other tokens \
                     there than as a whole; break it into lines",
                    self.path(file).display(),
                    self.sizes.most >> 20
                )));
            }
            let (mut next, mut worked): (_, Result<Vec<T>>) = (Ok(Batch::default()), Ok(Vec::new()));
            let collected = rayon::in_place_scope(|scope| {
                scope.spawn(|_| next = reader.next_batch());
                scope.spawn(|_| worked = batch.chunks.par_iter().map(work).collect());
                results.drain(..).try_for_each(&mut collect)
            });
            collected?;
            reporter.report(results_end);
            (results, results_end) = (worked?, batch.end);
            batch = next?;
        }
        reporter.finish(self.size_bytes());
        Ok(())
    }
}

/// The regular files in a folder and below it, sorted; hidden ones and folders behind links left out.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let entry = entry.map_err(Error::io(&folder))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            let kind = entry.file_type().map_err(Error::io(&path))?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() || (kind.is_symlink() && fs::metadata(&path).map_err(Error::io(&path))?.is_file())
            {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;
    use crate::text::compression::Compression;
    use crate::text::compression::tests::compress;

    const SMALL: ChunkSizes = ChunkSizes { target: 16, most: 64 };

    /// The whole text, and the lines put together again.
    fn read(corpus: &Corpus) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
        let (mut text, mut lines) = (Vec::new(), Vec::new());
        let mut line_is_open = false;
        corpus.for_each_chunk(
            "reading",
            &Silent,
            |chunk| (chunk.bytes().to_vec(), chunk.lines().map(|line| (line.text.to_vec(), line.ends)).collect()),
            |(bytes, pieces): (Vec<u8>, Vec<(Vec<u8>, bool)>)| {
                assert!(!bytes.is_empty());
                text.extend(bytes);
                for (piece, ends) in pieces {
                    match lines.last_mut() {
                        Some(last) if line_is_open => Vec::extend(last, piece),
                        _ => lines.push(piece),
                    }
                    line_is_open = !ends;
                }
                Ok(())
            },
        )?;
        assert!(!line_is_open, "the last line of a text ends");
        Ok((text, lines))
    }

    /// What the lines of a text are, said in the plainest way.
    fn naive_lines(text: &[u8]) -> Vec<Vec<u8>> {
        let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
        if lines.last().is_some_and(|last| last.is_empty()) {
            lines.pop();
        }
        let n_ended = lines.len() - usize::from(!text.ends_with(b"\n") && !lines.is_empty());
        let ended = lines.iter().take(n_ended).map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec());
        ended.chain(lines.iter().skip(n_ended).map(|line| line.to_vec())).collect()
    }

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Folder {
            Folder(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        }
    }

    fn error_of(path: &Path) -> String {
        Corpus::open(&[path.to_path_buf()]).and_then(|corpus| read(&corpus)).unwrap_err().to_string()
    }

    fn any_text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => "[a-z]{1,9}".prop_map(String::into_bytes),
            4 => Just(b" ".to_vec()),
            2 => prop_oneof![Just(b"\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"\r".to_vec())],
            2 => "\\PC{1,4}".prop_map(String::into_bytes),
            1 => "[\u{85}\u{a0}\u{2028}\u{3000}\t\u{0}\u{feff}]".prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 1..5),
            1 => "[语字]{1,40}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn chunks_are_the_text_and_lines_are_its_lines(text in any_text(), how in 0..4usize) {
            // "x" keeps the text from beginning like some other kind of file.
            let text = [b"x", &text[..]].concat();
            let folder = Folder::new();
            let mut corpus = match [None, Some(Compression::Gzip), Some(Compression::Zstd), Some(Compression::Xz)][how] {
                None => Corpus::from_text(text.clone()),
                Some(format) => Corpus::open(&[folder.write("text", &compress(format, &text))]).unwrap(),
            };
            corpus.sizes = SMALL;
            let (read_text, read_lines) = read(&corpus).unwrap();
            prop_assert_eq!(&read_text, &text);
            prop_assert_eq!(read_lines, naive_lines(&text));
        }

        #[test]
        fn a_cut_inside_a_line_is_before_a_word_where_there_is_one(text in "[a-z\u{e9} \u{a0}]{0,400}") {
            let mut corpus = Corpus::from_text(text.clone());
            corpus.sizes = SMALL;
            let mut chunks = Vec::new();
            corpus.for_each_chunk("reading", &Silent, |chunk| chunk.bytes().to_vec(), |chunk| {
                chunks.push(chunk);
                Ok(())
            }).unwrap();
            for pair in chunks.windows(2) {
                let (before, after) = (std::str::from_utf8(&pair[0]).unwrap(), std::str::from_utf8(&pair[1]).unwrap());
                let good = after.starts_with(' ') && !before.ends_with(char::is_whitespace);
                prop_assert!(good || before.len() >= SMALL.most - 3, "{:?} | {:?}", before, after);
            }
        }
    }

    #[test]
    fn a_line_of_many_megabytes_comes_in_bounded_chunks_and_is_warned_of_where_it_is_torn() {
        let mut text = b"word ".repeat(1 << 20);
        text.resize(text.len() + (6 << 20), b'a');
        let mut corpus = Corpus::from_text(text.clone());
        corpus.sizes.most = 5 << 20;
        for (long_lines, n_chunks) in [(LongLines::Cut, 8), (LongLines::Whole, 3)] {
            let mut lens = Vec::new();
            let ear = Ear::default();
            corpus
                .for_each_chunk_with(
                    long_lines,
                    "reading",
                    &ear,
                    |chunk| chunk.bytes().len(),
                    |n| {
                        lens.push(n);
                        Ok(())
                    },
                )
                .unwrap();
            assert_eq!((lens.iter().max(), lens.len()), (Some(&corpus.sizes.most), n_chunks));
            let warnings = ear.warnings.into_inner().unwrap();
            assert!(warnings.len() == 1 && warnings[0].contains("for 5 MiB was cut all the same"), "{warnings:?}");
        }
        assert!(read(&corpus).unwrap().1 == [text]);
    }

    #[test]
    fn files_and_folders_come_in_order_and_each_ends_its_last_line() {
        let folder = Folder::new();
        let first = folder.write("z.txt", b"first, no line end");
        folder.write("folder/b.txt", b"b\r\n");
        folder.write("folder/a/deep.txt", b"deep");
        folder.write("folder/a.gz", &compress(Compression::Gzip, b"a\nb"));
        folder.write("folder/.hidden", b"hidden");
        folder.write("folder/.git/x", b"hidden");
        folder.write("folder/empty", b"");
        let corpus = Corpus::open(&[first, folder.0.path().join("folder")]).unwrap();
        let lines = read(&corpus).unwrap().1;
        assert_eq!(lines, [b"first, no line end" as &[u8], b"deep", b"a", b"b", b"b"]);
    }

    #[test]
    fn a_folder_of_many_small_files_needs_few_open_ones() {
        let folder = Folder::new();
        for i in 0..3000 {
            folder.write(&format!("{i:04}"), i.to_string().as_bytes());
        }
        let corpus = Corpus::open(&[folder.0.path().to_path_buf()]).unwrap();
        let n_open = || fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let mut most_open = 0;
        let mut n = 0;
        corpus
            .for_each_chunk(
                "reading",
                &Silent,
                |chunk| chunk.bytes().to_vec(),
                |text| {
                    assert_eq!(text, n.to_string().as_bytes());
                    n += 1;
                    most_open = n_open().max(most_open);
                    Ok(())
                },
            )
            .unwrap();
        assert_eq!(n, 3000);
        assert!(most_open < 600, "{most_open} files were open at a time");
    }

    #[test]
    fn a_byte_order_mark_at_the_start_is_no_text_and_elsewhere_it_is() {
        let folder = Folder::new();
        let text = "\u{feff}a\n\u{feff}b".as_bytes();
        let plain = folder.write("plain", text);
        let packed = folder.write("packed", &compress(Compression::Zstd, text));
        let alone = folder.write("alone", "\u{feff}".as_bytes());
        let mut corpus = Corpus::open(&[plain, packed, alone]).unwrap();
        corpus.sizes = SMALL;
        assert_eq!(read(&corpus).unwrap().0, "a\n\u{feff}ba\n\u{feff}b".as_bytes());
    }

    #[test]
    fn what_is_missing_empty_or_no_text_is_named() {
        let folder = Folder::new();
        assert!(error_of(&folder.0.path().join("nowhere.txt")).contains("nowhere.txt: No such file"));
        assert!(error_of(&folder.write("empty.txt", b"")).contains("empty.txt: no words found: the text is empty"));
        fs::create_dir(folder.0.path().join("bare")).unwrap();
        assert!(error_of(&folder.0.path().join("bare")).contains("bare: the folder holds no files"));
        let utf16 = error_of(&folder.write("wide.txt", b"\xff\xfea\0\n\0"));
        assert!(utf16.contains("is UTF-16 text") && utf16.contains("iconv -f UTF-16 -t UTF-8"), "{utf16}");
        assert!(error_of(&folder.write("book.txt", b"%PDF-1.7\n")).contains("book.txt: is a PDF document"));
        let twice = compress(Compression::Xz, &compress(Compression::Gzip, b"text"));
        assert!(error_of(&folder.write("twice", &twice)).contains("holds a gzip stream inside a compressed stream"));
        let mut tar = vec![b'a'; 1024];
        tar[257..262].copy_from_slice(b"ustar");
        let inside = error_of(&folder.write("backup.gz", &compress(Compression::Gzip, &tar)));
        assert!(inside.contains("decompressed, it is a tar archive"), "{inside}");
        assert!(Corpus::open(&[]).unwrap_err().to_string().contains("no file is given"));
        assert!(error_of(&folder.write("damaged.gz", b"\x1f\0\x8b\x08")).contains("does not begin as gzip does"));
        let renamed = folder.write("unpacked.gz", "just text é".as_bytes());
        assert_eq!(read(&Corpus::open(&[renamed]).unwrap()).unwrap().0, "just text é".as_bytes());
    }

    #[test]
    fn a_cut_stream_says_which_file_and_about_where() {
        let folder = Folder::new();
        let mut random = 1u32;
        let text: Vec<u8> = (0..1_000_000)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b'a' + (random >> 28) as u8
            })
            .collect();
        for format in [Compression::Gzip, Compression::Zstd, Compression::Xz] {
            let whole = compress(format, &text);
            let cut = whole.len() * 3 / 4;
            let message = error_of(&folder.write("cut", &whole[..cut]));
            let place = format!("cut: the {} stream is damaged or cut short near byte {cut} of {cut}", format.name());
            assert!(message.contains(&place), "{message}");
        }
    }

    #[test]
    fn a_file_that_shrinks_is_an_error_and_what_is_appended_is_left_alone() {
        let folder = Folder::new();
        let path = folder.write("log.txt", &b"a line of text\n".repeat(10_000));
        let corpus = Corpus::open(std::slice::from_ref(&path)).unwrap();
        fs::File::options().append(true).open(&path).unwrap().write_all(b"more\n").unwrap();
        assert_eq!(read(&corpus).unwrap().0.len(), 150_000);
        fs::File::options().write(true).open(&path).unwrap().set_len(100_000).unwrap();
        let message = read(&corpus).unwrap_err().to_string();
        assert!(message.contains("became shorter") && message.contains("150000 bytes at the start, 100000 now"));
    }

    #[test]
    fn a_file_that_shrinks_in_the_middle_of_a_pass_is_an_error() {
        let folder = Folder::new();
        let path = folder.write("log.txt", &b"a line of text\n".repeat(10_000));
        let mut corpus = Corpus::open(std::slice::from_ref(&path)).unwrap();
        corpus.sizes = ChunkSizes { target: 1000, most: 4000 };
        let mut n_chunks = 0;
        let result = corpus.for_each_chunk(
            "reading",
            &Silent,
            |_| (),
            |()| {
                n_chunks += 1;
                fs::File::options().write(true).open(&path).unwrap().set_len(50_000).map_err(Error::io(&path))
            },
        );
        assert!(result.unwrap_err().to_string().contains("became shorter"));
        assert!(n_chunks > 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_another_took_the_place_of_is_an_error() {
        let folder = Folder::new();
        let path = folder.write("a.txt", b"the text at first");
        let corpus = Corpus::open(std::slice::from_ref(&path)).unwrap();
        fs::rename(folder.write("b.txt", b"some other text, longer than the first"), &path).unwrap();
        assert!(read(&corpus).unwrap_err().to_string().contains("was replaced by another file"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_is_read_once_and_used_often() {
        let folder = Folder::new();
        for text in [b"through a pipe\nand on".to_vec(), compress(Compression::Gzip, b"through a pipe\nand on")] {
            let pipe = folder.0.path().join("pipe");
            rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
            let writer = std::thread::spawn({
                let pipe = pipe.clone();
                move || fs::write(pipe, text).unwrap()
            });
            let corpus = Corpus::open(std::slice::from_ref(&pipe)).unwrap();
            writer.join().unwrap();
            fs::remove_file(pipe).unwrap();
            for _ in 0..2 {
                assert_eq!(read(&corpus).unwrap().0, b"through a pipe\nand on");
            }
        }
    }

    /// Remembers what it hears and asks to stop after so many reports.
    #[derive(Default)]
    struct Ear {
        heard: Mutex<Vec<(u64, Option<u64>)>>,
        warnings: Mutex<Vec<String>>,
        stop: bool,
    }

    impl Progress for Ear {
        fn report(&self, event: &Event<'_>) {
            match event {
                Event::Step { stage: "reading", done, total, unit: "bytes" } => {
                    self.heard.lock().unwrap().push((*done, *total));
                }
                Event::Warning(warning) => self.warnings.lock().unwrap().push(warning.to_string()),
                _ => {}
            }
        }

        fn stop_requested(&self) -> bool {
            self.stop
        }
    }

    #[test]
    fn progress_counts_bytes_on_disk_and_can_stop_the_work() {
        let folder = Folder::new();
        let packed = compress(Compression::Gzip, &b"the same line again and again\n".repeat(100_000));
        let size = packed.len() as u64 + 3;
        let paths = [folder.write("a.gz", &packed), folder.write("b", b"abc")];
        let corpus = Corpus::open(&paths).unwrap();
        let ear = Ear::default();
        corpus.for_each_chunk("reading", &ear, |_| (), |()| Ok(())).unwrap();
        let heard = ear.heard.into_inner().unwrap();
        assert_eq!(heard.last(), Some(&(size, Some(size))));
        assert!(heard.is_sorted());

        let ear = Ear { stop: true, ..Ear::default() };
        let stopped = corpus.for_each_chunk("reading", &ear, |_| (), |()| panic!("nothing is collected"));
        assert!(matches!(stopped, Err(Error::Interrupted(_))));
    }

    #[test]
    fn an_error_of_the_collector_ends_the_work() {
        let mut corpus = Corpus::from_text(b"a b c d e f g h ".repeat(1000));
        corpus.sizes = SMALL;
        let mut n = 0;
        let result = corpus.for_each_chunk(
            "reading",
            &Silent,
            |_| (),
            |()| {
                n += 1;
                if n == 3 { Err(corpus.no_words()) } else { Ok(()) }
            },
        );
        assert_eq!((n, result.is_err()), (3, true));
    }
}
