//! Files of vectors, through the public names: what other programs wrote, what is broken, what we write.

use std::fs;
use std::path::{Path, PathBuf};

use byteorder::{ByteOrder, LittleEndian};
use proptest::prelude::*;
use wordgrove::math::Matrix;
use wordgrove::text::Corpus;
use wordgrove::tokens::{BpeConfig, learn_bpe};
use wordgrove::vectors::{
    Embeddings, Layout, Model, ModelConfig, Opened, ReadOptions, Source, Verified, open, write_word2vec_binary,
    write_word2vec_text,
};
use wordgrove::{EpochReport, Measure, Silent, Tokenizer};

/// The folder of shared data, where it is at hand.
fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("WORDGROVE_SHARED").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let found = root.join("data").join(path);
    if !found.exists() {
        eprintln!("skipped: no {}", found.display());
    }
    found.exists().then_some(found)
}

fn read(bytes: &[u8], options: ReadOptions) -> Result<Opened, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    fs::write(&path, bytes).unwrap();
    open(&path, options).map_err(|error| error.to_string())
}

fn refusal(bytes: impl AsRef<[u8]>) -> String {
    match read(bytes.as_ref(), ReadOptions::default()) {
        Ok(opened) => panic!("read {} rows", opened.embeddings.n_rows()),
        Err(message) => message,
    }
}

const SALVAGE: ReadOptions = ReadOptions { salvage: true, drop_nonfinite: false };
const DROP_NONFINITE: ReadOptions = ReadOptions { salvage: false, drop_nonfinite: true };

/// A file in word2vec's binary form.
fn binary(rows: &[(&[u8], Vec<f32>)], between: &[u8]) -> Vec<u8> {
    let dim = rows[0].1.len();
    let mut bytes = format!("{} {dim}\n", rows.len()).into_bytes();
    for (word, numbers) in rows {
        bytes.extend_from_slice(word);
        bytes.push(b' ');
        let start = bytes.len();
        bytes.resize(start + 4 * dim, 0);
        LittleEndian::write_f32_into(numbers, &mut bytes[start..]);
        bytes.extend_from_slice(between);
    }
    bytes
}

fn words(embeddings: &Embeddings) -> Vec<String> {
    (0..embeddings.n_rows()).map(|row| embeddings.word(row).into_owned()).collect()
}

fn bits(embeddings: &Embeddings) -> Vec<u32> {
    embeddings.as_slice().iter().map(|x| x.to_bits()).collect()
}

#[test]
fn files_of_other_programs_open_and_their_forms_agree() {
    let Some(folder) = shared("fixtures/word2vec") else { return };
    let read = |name: &str| open(&folder.join(name), ReadOptions::default()).unwrap();
    let expected = [
        ("ff-similarity.bin", Layout::Binary, 41, 100),
        ("ff-similarity.txt", Layout::TextWithHeader, 41, 100),
        ("ff-similarity.nodims", Layout::TextWithoutHeader, 41, 100),
        ("ff-utf8-incomplete.bin", Layout::Binary, 3, 3),
        ("ff-utf8-incomplete.txt", Layout::TextWithoutHeader, 3, 3),
        ("ff-utf8-incomplete.dims", Layout::TextWithHeader, 3, 3),
        ("euclidean_vectors.bin", Layout::Binary, 2747, 10),
        ("high_precision.kv.bin", Layout::Binary, 2, 2),
        ("high_precision.kv.txt", Layout::TextWithHeader, 2, 2),
        ("word2vec_pre_kv_c", Layout::TextWithHeader, 1750, 10),
        ("EN.1-10.cbow1_wind5_hs0_neg10_size300_smpl1e-05.txt", Layout::TextWithHeader, 20, 300),
    ];
    for (name, layout, n_rows, dim) in expected {
        let opened = read(name);
        let found = (opened.source, opened.embeddings.n_rows(), opened.embeddings.dim());
        assert_eq!(found, (Source::File(layout), n_rows, dim), "{name}");
        assert_eq!(opened.warnings, [""; 0], "{name}");
    }
    let [binary, text, bare] = ["ff-similarity.bin", "ff-similarity.txt", "ff-similarity.nodims"].map(read);
    assert_eq!(words(&binary.embeddings), words(&text.embeddings));
    assert_eq!(bits(&text.embeddings), bits(&bare.embeddings));
    for (a, b) in binary.embeddings.as_slice().iter().zip(text.embeddings.as_slice()) {
        assert!((a - b).abs() <= 1e-5, "the text has fewer digits: {a} {b}");
    }
    assert_eq!(read("euclidean_vectors.bin").embeddings.word(0), "the");
    assert_eq!(read("word2vec_pre_kv_c").embeddings.row(0)[..2], [-0.561106, -1.975698]);
    let cut = read("ff-utf8-incomplete.txt").embeddings;
    assert_eq!(words(&cut), ["meren", "zee\\xC3n", "rivieren"]);
    assert_eq!(cut.bytes(1), b"zee\xc3n");
}

#[test]
fn glove_and_fasttext_text_files_open() {
    let Some(folder) = shared("fixtures") else { return };
    for (name, layout, n_rows, dim) in [
        ("glove/test_glove.txt", Layout::TextWithoutHeader, 76, 50),
        ("fasttext/toy-model.vec", Layout::TextWithHeader, 22, 5),
        ("fasttext/lee_fasttext.vec", Layout::TextWithHeader, 1762, 10),
    ] {
        let opened = open(&folder.join(name), ReadOptions::default()).unwrap();
        let found = (opened.source, opened.embeddings.n_rows(), opened.embeddings.dim());
        assert_eq!(found, (Source::File(layout), n_rows, dim), "{name}");
    }
}

#[test]
fn files_of_other_kinds_are_refused_by_name() {
    let Some(folder) = shared("fixtures") else { return };
    for (name, wanted) in [
        ("finalfusion/similarity.fifu", "finalfusion"),
        ("fasttext/lee_fasttext_new.bin", "fastText"),
        ("fasttext/lee_fasttext.bin", "not a file of vectors"),
        ("bpe/gpt2.tokenizer.json", "JSON"),
        ("bpe/german.txt", "not a file of vectors"),
        ("fasttext/toy-data.txt", "not a file of vectors"),
    ] {
        let message = open(&folder.join(name), ReadOptions::default()).unwrap_err().to_string();
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn line_ends_byte_order_marks_and_spaces_at_the_end_do_not_matter() {
    let plain = read(b"2 2\na 1 2\nb 3 4\n", ReadOptions::default()).unwrap().embeddings;
    for text in [
        "2 2\r\na 1 2\r\nb 3 4\r\n",
        "\u{feff}2 2\na 1 2\nb 3 4\n",
        "2 2 \na 1 2 \nb 3 4 \n",
        "2\t2\na\t1\t2\nb\t3\t4\n\n\n",
        "a 1 2\nb 3 4\n",
        "\u{feff}a 1 2\r\nb 3 4\r\n",
    ] {
        let opened = read(text.as_bytes(), ReadOptions::default()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!((words(&opened.embeddings), bits(&opened.embeddings)), (words(&plain), bits(&plain)), "{text:?}");
        assert_eq!(opened.warnings, [""; 0], "{text:?}");
    }
    let unended = read(b"2 2\na 1 2\nb 3 4", ReadOptions::default()).unwrap();
    assert!(unended.warnings[0].contains("no line end"));
}

#[test]
fn binary_files_with_and_without_line_ends_between_rows_are_the_same() {
    let rows: [(&[u8], Vec<f32>); 2] = [(b"a", vec![1.0, -0.0]), (b"b", vec![f32::MIN_POSITIVE / 2.0, 4.0])];
    let [with, without] =
        [&b"\n"[..], b""].map(|between| read(&binary(&rows, between), ReadOptions::default()).unwrap());
    assert_eq!(with.source, Source::File(Layout::Binary));
    assert_eq!(words(&with.embeddings), ["a", "b"]);
    assert_eq!(bits(&with.embeddings), rows.iter().flat_map(|row| &row.1).map(|x| x.to_bits()).collect::<Vec<_>>());
    assert_eq!(words(&with.embeddings), words(&without.embeddings));
    assert_eq!(bits(&with.embeddings), bits(&without.embeddings));
}

#[test]
fn b1_a_header_is_held_against_the_bytes_that_are_there() {
    let digits = "9".repeat(400);
    let rows: [(&[u8], Vec<f32>); 3] = [(b"abc", vec![0.1; 4]), (b"def", vec![0.2; 4]), (b"ghi", vec![0.3; 4])];
    for (header, wanted) in [
        ("99999999999999 4", "room for"),
        ("3 99999999999999", "only"),
        ("9223372036854775807 4", "room for"),
        ("4611686018427387905 4", "room for"),
        ("18446744073709551616 4", "room for"),
        (&*format!("{digits} 4"), "room for"),
        (&*format!("4 {digits}"), "only"),
        ("-3 4", "is not two numbers"),
        ("+3 4", "is not two numbers"),
        ("3 -4", "is not two numbers"),
        ("0 4", "is not two numbers"),
        ("3 0", "is not two numbers"),
        ("three 4", "is not two numbers"),
        ("3 four", "is not two numbers"),
        ("3.0 4", "is not two numbers"),
    ] {
        let message = refusal(format!("{header}\na 1 2 3 4\nb 1 2 3 4\nc 1 2 3 4\n"));
        assert!(message.contains(wanted), "{header}: {message}");
        let message = refusal([format!("{header}\n").as_bytes(), &binary(&rows, b"")[4..]].concat());
        assert!(message.contains(wanted), "{header}: {message}");
    }
}

#[test]
fn b2_every_prefix_of_a_file_is_an_error_or_a_warning_and_salvage_keeps_whole_rows() {
    let text = b"3 2\nking 0.5 0.25\nman 1.5 -2\nqueen 3 4\n".to_vec();
    let rows: [(&[u8], Vec<f32>); 3] =
        [(b"king", vec![0.1, 0.2]), (b"man", vec![1.0, 2.0]), (b"queen", vec![3.0, 0.4])];
    for whole in [text, binary(&rows, b"\n"), binary(&rows, b"")] {
        for end in 0..whole.len() {
            let prefix = &whole[..end];
            match read(prefix, ReadOptions::default()) {
                // The last number of a text may be cut short without a trace but the missing line end.
                Ok(opened) if opened.source == Source::File(Layout::TextWithHeader) => {
                    assert!(opened.warnings[0].contains("no line end"), "{end}: {:?}", opened.warnings)
                }
                // The last line end of a binary file may as well be absent.
                Ok(opened) => assert_eq!((opened.embeddings.n_rows(), end), (3, whole.len() - 1)),
                Err(message) => assert!(!message.is_empty()),
            }
            if let Ok(salvaged) = read(prefix, SALVAGE) {
                let n_rows = salvaged.embeddings.n_rows();
                assert!(n_rows == 3 || !salvaged.warnings.is_empty());
                assert_eq!(words(&salvaged.embeddings), ["king", "man", "queen"][..n_rows]);
            }
        }
    }
    let message = refusal(&binary(&rows, b"\n")[..4 + 14 + 7]);
    assert!(message.contains("room for"), "{message}");
    let message = refusal(&binary(&rows, b"\n")[..4 + 14 + 13 + 9]);
    assert!(message.contains("row 3 of 3 (at byte 30)"), "{message}");
    let message = refusal("3 2\nking 0.5 0.25\nman 1.5 -2\nqueen 3");
    assert!(message.contains("row 3 of 3 ('queen', at byte 29) has 1 numbers, expected 2"), "{message}");
}

#[test]
fn b3_rows_are_counted_against_the_header() {
    let fewer = "3 2\na 1.0 2.0\nb 3.0 4.0\n";
    assert!(refusal(fewer).contains("the header says 3 rows, found 2"));
    let more = "1 2\na 1 2\nb 3 4\n";
    assert!(refusal(more).contains("the header says 1 rows, found 2"));
    assert_eq!(read(more.as_bytes(), SALVAGE).unwrap().embeddings.n_rows(), 2);
    let opened = read(fewer.as_bytes(), SALVAGE).unwrap();
    assert_eq!(opened.embeddings.n_rows(), 2);
    assert!(opened.warnings[0].contains("says 3 rows"));
}

#[test]
fn b4_a_faulty_row_is_named_with_its_word_and_place() {
    for (text, wanted) in [
        ("2 3\na 1 2 3\nb 1 2\n", "row 2 of 2 ('b', at byte 12) has 2 numbers, expected 3"),
        ("2 3\na 1 2 3\nb 1 2 3 4\n", "row 2 of 2 ('b', at byte 12) has 4 numbers, expected 3"),
        ("2 3\na 1 2 3\nb 1 one 3\n", "'one' where number 2 of 3"),
        ("2 3\na 1 2 3\nb 1 0,5 3\n", "point, not a comma"),
        ("2 3\na 1 2 3\n\nb 1 2 3\n", "row 2 of 2 ('', at byte 12) has 0 numbers"),
    ] {
        let message = refusal(text);
        assert!(message.contains(wanted), "{text}: {message}");
    }
    let glove = read(b"a 1 2 3\n. . . 1 2 3\nnew york 1 2 3\n", ReadOptions::default()).unwrap();
    assert_eq!(words(&glove.embeddings), ["a", ". . .", "new york"]);
    let salvaged = read(b"3 2\na 1 2\nb 1\nc 1 2\n", SALVAGE).unwrap();
    assert_eq!(words(&salvaged.embeddings), ["a", "c"]);
    assert!(salvaged.warnings.iter().any(|warning| warning.contains("left out 1 row that cannot be read")));
}

#[test]
fn b5_numbers_that_are_not_finite_are_refused_or_dropped_and_the_smallest_kept() {
    for number in ["nan", "NaN", "inf", "-Infinity", "1e999"] {
        let text = format!("a 1 2\nb {number} 2\nc 0 1e-45\n");
        assert!(refusal(&text).contains("row 2 ('b')"), "{number}");
        let opened = read(text.as_bytes(), DROP_NONFINITE).unwrap();
        assert_eq!(words(&opened.embeddings), ["a", "c"]);
        assert!(opened.warnings[0].contains("left out 1 row with NaN or infinity"), "{:?}", opened.warnings);
        assert_eq!(opened.embeddings.row(1), [0.0, f32::from_bits(1)]);
    }
    let rows: [(&[u8], Vec<f32>); 2] = [(b"a", vec![1.0, 2.0]), (b"b", vec![1.0, f32::NEG_INFINITY])];
    assert!(refusal(binary(&rows, b"\n")).contains("row 2 ('b') has -inf at number 2"));
    let none = read(b"a nan 1\n", DROP_NONFINITE).unwrap_err();
    assert!(none.contains("no row can be used"), "{none}");
}

#[test]
fn b6_the_first_of_equal_words_is_kept_and_rows_stay_dense() {
    let opened = read(b"a 1 2\nb 3 4\na 5 6\n 7 8\nA 9 9\n", ReadOptions::default()).unwrap();
    assert_eq!(words(&opened.embeddings), ["a", "b", "", "A"]);
    assert_eq!(opened.embeddings.row(0), [1.0, 2.0]);
    assert_eq!(opened.embeddings.row(2), [7.0, 8.0]);
    assert_eq!(opened.embeddings.row_of("A"), Some(3));
    assert_eq!(opened.warnings, ["left out 1 row whose word had come before; the first: row 3 ('a')"]);
}

#[test]
fn b8_words_have_a_bounded_length() {
    assert!(refusal("x".repeat(3 << 20)).contains("not a file of vectors"));
    let long = "x".repeat(5000);
    assert_eq!(read(format!("{long} 1 2\n").as_bytes(), ReadOptions::default()).unwrap().embeddings.word(0), long);
    let bytes = binary(&[(long.as_bytes(), vec![0.1; 50])], b"\n");
    assert_eq!(read(&bytes, ReadOptions::default()).unwrap().embeddings.word(0), long);
    let bytes = binary(&[(&vec![0x81; 3 << 20], vec![0.1; 50])], b"\n");
    assert!(refusal(&bytes).contains("65536 bytes"), "{}", refusal(&bytes));
}

#[test]
fn b9_what_follows_the_last_row_is_refused() {
    let rows: [(&[u8], Vec<f32>); 2] = [(b"a", vec![0.1, 0.2]), (b"b", vec![0.3, 0.4])];
    for between in [&b"\n"[..], b""] {
        let once = binary(&rows, between);
        let twice = [once.clone(), once.clone()].concat();
        assert!(refusal(&twice).contains("two files in one?"));
        assert_eq!(read(&twice, SALVAGE).unwrap().embeddings.n_rows(), 2);
        assert!(refusal([once, b"garbage".to_vec()].concat()).contains("bytes follow the 2 rows"));
    }
    assert!(refusal("2 2\na 1 2\nb 3 4\n2 2\na 1 2\nb 3 4\n").contains("row 3"));
    assert!(refusal("2 2\na 1 2\nb 3 4\ngarbage\n").contains("row 3"));
}

#[test]
fn sixty_four_bit_numbers_are_recognised() {
    let mut bytes = b"2 3\n".to_vec();
    for word in ["kangaroo", "horse"] {
        bytes.extend_from_slice(format!("{word} ").as_bytes());
        for number in [0.1f64, -1.5, 1e-3] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    assert!(refusal(&bytes).contains("64-bit numbers"), "{}", refusal(&bytes));
}

/// Vectors with any finite bits.
fn any_vectors() -> impl Strategy<Value = (usize, Vec<f32>)> {
    let number = || any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |x| x.is_finite());
    let edges = vec![0.0, -0.0, f32::from_bits(1), f32::MIN_POSITIVE, f32::MAX, f32::MIN, 1e-40, 0.1];
    let number = move || prop_oneof![number(), prop::sample::select(edges.clone())];
    (1..6usize, 1..40usize)
        .prop_flat_map(move |(dim, n_rows)| (Just(dim), prop::collection::vec(number(), dim * n_rows)))
}

proptest! {
    #[test]
    fn what_is_written_reads_back_bit_for_bit((dim, numbers) in any_vectors()) {
        let names: Vec<String> = (0..numbers.len() / dim).map(|row| format!("w\t{row}\u{a0}é\u{2028}")).collect();
        let rows: Vec<(&[u8], Vec<f32>)> =
            names.iter().zip(numbers.chunks(dim)).map(|(name, row)| (name.as_bytes(), row.to_vec())).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors");
        // A first file to write from; word2vec's binary form is read as it is.
        fs::write(&path, binary(&rows, b"\n")).unwrap();
        let original = open(&path, ReadOptions::default()).unwrap().embeddings;
        prop_assert_eq!(bits(&original), numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        for write in [write_word2vec_text, write_word2vec_binary] {
            write(&original, &path).unwrap();
            let back = open(&path, ReadOptions::default()).unwrap();
            prop_assert_eq!(&back.warnings, &[""; 0]);
            prop_assert_eq!(words(&back.embeddings), words(&original));
            prop_assert_eq!(bits(&back.embeddings), bits(&original));
        }
    }

    #[test]
    fn a_damaged_file_never_panics(
        text in any::<bool>(),
        damage in prop::collection::vec((any::<u16>(), any::<u8>()), 1..8),
    ) {
        let rows: [(&[u8], Vec<f32>); 3] = [(b"a", vec![0.1, 0.2]), (b"bc", vec![1.0, 2.0]), (b"d", vec![3.0, 0.4])];
        let mut bytes = if text { b"3 2\na 0.1 0.2\nbc 1.0 2\nd 3 4\n".to_vec() } else { binary(&rows, b"\n") };
        for (place, byte) in damage {
            let place = place as usize % bytes.len();
            bytes[place] = byte;
        }
        for options in [ReadOptions::default(), SALVAGE, DROP_NONFINITE] {
            if let Ok(opened) = read(&bytes, options) {
                prop_assert!(opened.embeddings.as_slice().len() <= bytes.len());
            }
        }
    }
}

#[test]
fn a_word_that_the_format_cannot_carry_is_refused_and_nothing_is_written() {
    let vectors = read(b"a 1 2\n. . . 1 2\nb c 1 2\n", ReadOptions::default()).unwrap().embeddings;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    for write in [write_word2vec_text, write_word2vec_binary] {
        let message = write(&vectors, &path).unwrap_err().to_string();
        assert!(message.contains("'. . .' (and 1 more)"), "{message}");
        assert!(!path.exists());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn c6_a_full_disk_is_an_error() {
    let vectors = read(b"a 1 2\n", ReadOptions::default()).unwrap().embeddings;
    for write in [write_word2vec_text, write_word2vec_binary] {
        let error = write(&vectors, Path::new("/dev/full")).unwrap_err();
        assert!(matches!(&error, wordgrove::Error::Io { .. }), "{error}");
    }
}

#[test]
fn c8_a_file_can_be_written_over_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    fs::write(&path, "2 2\na 1 2\nb 3 4\n").unwrap();
    let before = open(&path, ReadOptions::default()).unwrap().embeddings;
    write_word2vec_binary(&before, &path).unwrap();
    let after = open(&path, ReadOptions::default()).unwrap();
    assert_eq!(after.source, Source::File(Layout::Binary));
    assert_eq!(bits(&after.embeddings), bits(&before));
}

/// A model's parts: a small BPE and numbers that tell rows apart.
fn grown(dim: usize) -> (Tokenizer, Matrix, Matrix, Vec<u64>, ModelConfig) {
    let config = BpeConfig { vocab_size: 280, ..BpeConfig::default() };
    let text = "mother of mother\nfather of father\n".repeat(9);
    let tokenizer = learn_bpe(&Corpus::from_text(text), &config, &Silent).unwrap();
    let n_tokens = tokenizer.n_tokens();
    let matrix = |n_rows: usize, scale: f32| {
        let mut matrix = Matrix::zeros(n_rows, dim);
        for row in 0..n_rows {
            matrix.row_mut(row).iter_mut().enumerate().for_each(|(i, x)| *x = scale * ((row + 3 * i) as f32).sin());
        }
        matrix
    };
    let epoch = EpochReport {
        measure: Measure::Loss,
        epoch: 1,
        train_bits: 7.25,
        held_out_bits: Some(0.1 + 0.2),
        held_out_predictions: 99,
        tokens_per_second: 1e6,
        seconds: 0.5,
    };
    let config = ModelConfig {
        wordgrove_version: "0.1.0".to_string(),
        architecture: Some("skip-gram".to_string()),
        loss: None,
        tokens: "bpe".to_string(),
        dim,
        settings: serde_json::json!({ "window": 5, "learning-rate": 0.025 }).as_object().unwrap().clone(),
        epochs: vec![epoch],
        n_text_tokens: 108,
        n_sentences: 18,
    };
    let counts = (0..n_tokens as u64).map(|id| id * id).collect();
    (tokenizer, matrix(n_tokens, 1.0), matrix(n_tokens - 1, 0.5), counts, config)
}

fn save(path: &Path, dim: usize) {
    let (tokenizer, input, output, counts, config) = grown(dim);
    Model::save(path, &tokenizer, &input, Some(&output), &counts, &config).unwrap();
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_model_of_negative_sampling_has_outputs_and_no_nodes_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let (tokenizer, input, nodes, counts, config) = grown(20);
    let config = ModelConfig { loss: Some("ns".to_string()), ..config };
    Model::save(&path, &tokenizer, &input, Some(&input), &counts, &config).unwrap();
    let model = Model::open(&path).unwrap();
    let outputs = model.outputs.as_ref().unwrap();
    assert!((0..input.n_rows()).all(|row| outputs.row(row) == input.row(row)) && outputs.n_rows() == input.n_rows());
    assert!(model.nodes.is_none());
    assert!(model.tree_nodes().unwrap_err().to_string().contains("negative sampling"));
    assert_eq!(model.config.as_ref(), Some(&config));

    // Files that contradict each other are refused.
    for (loss, output, missing) in [("hs", &input, "'nodes'"), ("ns", &nodes, "'outputs'")] {
        let config = ModelConfig { loss: Some(loss.to_string()), ..config.clone() };
        Model::save(&path, &tokenizer, &input, Some(output), &counts, &config).unwrap();
        let error = Model::open(&path).unwrap_err().to_string();
        assert!(error.contains(missing) && error.contains(loss), "{error}");
    }
}

#[test]
fn a_model_reads_back_as_it_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let (tokenizer, input, output, counts, config) = grown(20);
    Model::check_destination(&path, tokenizer.n_tokens(), 20).unwrap();
    Model::save(&path, &tokenizer, &input, Some(&output), &counts, &config).unwrap();
    let model = Model::open(&path).unwrap();
    assert_eq!(model.config, Some(config));
    assert_eq!(model.embeddings.counts(), Some(&counts[..]));
    let nodes = model.nodes.as_ref().unwrap();
    for row in 0..input.n_rows() {
        assert_eq!(model.embeddings.row(row), input.row(row));
    }
    for row in 0..output.n_rows() {
        assert_eq!(nodes.row(row), output.row(row));
    }
    assert_eq!(model.verify().unwrap(), Verified::Intact);
    let files = ["config.json", "model.safetensors", "modules.json", "tokenizer.json", "tokenizer_config.json"];
    assert_eq!(entries(&path), files);
    assert_eq!(entries(folder.path()), ["model"]);
    assert_eq!(open(&path, ReadOptions::default()).unwrap().source, Source::Model);
}

#[test]
fn a_word_is_the_token_that_it_is_inside_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    save(&path, 8);
    let embeddings = Model::open(&path).unwrap().embeddings;
    let tokenizer = embeddings.tokenizer().unwrap();
    let mother = embeddings.row_of("mother").unwrap();
    assert_eq!(embeddings.bytes(mother), b" mother");
    assert_eq!(embeddings.word(mother), "mother");
    assert_eq!(embeddings.spelling(mother).as_deref(), Some("Ġmother"));
    let start = tokenizer.encode(b"mother")[0].index();
    assert_eq!(embeddings.word(start), "##mother");
    assert_eq!(embeddings.row_of("##mother"), Some(start));
    assert!(embeddings.is_answer(mother) && !embeddings.is_answer(start));
    assert_eq!(embeddings.row_of("grandmother"), None);
    let by_count = embeddings.by_falling_count();
    assert_eq!(by_count[0] as usize, tokenizer.n_tokens() - 1, "the count rises with the id here");
}

#[test]
fn c7_a_saved_model_replaces_the_old_one_and_readers_of_the_old_one_keep_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    save(&path, 4);
    let old = Model::open(&path).unwrap();
    save(&path, 6);
    assert_eq!(Model::open(&path).unwrap().embeddings.dim(), 6);
    assert_eq!((old.embeddings.dim(), old.embeddings.row(3)), (4, grown(4).1.row(3)));
    assert_eq!(entries(folder.path()), ["model"]);
}

#[test]
fn c8_a_model_can_be_written_over_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    save(&path, 4);
    let before = Model::open(&path).unwrap().embeddings;
    Model::save_vectors(&path, &before).unwrap();
    let after = Model::open(&path).unwrap();
    assert_eq!((bits(&after.embeddings), after.embeddings.counts()), (bits(&before), before.counts()));
    assert!(after.nodes.is_none());
}

#[test]
fn what_is_not_a_model_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dear");
    let refused = |path: &Path| {
        let before = Model::check_destination(path, 1000, 100).unwrap_err().to_string();
        let (tokenizer, input, output, counts, config) = grown(4);
        let after = Model::save(path, &tokenizer, &input, Some(&output), &counts, &config).unwrap_err().to_string();
        assert_eq!(before, after);
        before
    };
    fs::create_dir(&path).unwrap();
    Model::check_destination(&path, 1000, 100).unwrap();
    fs::write(path.join("letters.txt"), "dear").unwrap();
    assert!(refused(&path).contains("'letters.txt'"));
    fs::remove_file(path.join("letters.txt")).unwrap();
    fs::write(path.join("config.json"), "{\"model_type\": \"bert\"}").unwrap();
    assert!(refused(&path).contains("not a model that wordgrove wrote"));
    fs::remove_file(path.join("config.json")).unwrap();
    save(&path, 4);
    fs::write(path.join("notes.md"), "mine").unwrap();
    assert!(refused(&path).contains("'notes.md'"));
    assert!(refused(&path.join("config.json")).contains("is a file"));
    assert!(refused(&folder.path().join("no/model")).contains("does not exist"));
    assert_eq!(entries(folder.path()), ["dear"]);
    let full = Model::check_destination(&folder.path().join("large"), usize::MAX, 1 << 40).unwrap_err().to_string();
    assert!(full.contains("are free"), "{full}");
}

#[test]
fn damage_to_a_model_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    save(&path, 4);
    for name in ["model.safetensors", "tokenizer.json", "modules.json"] {
        let file = path.join(name);
        let bytes = fs::read(&file).unwrap();
        let mut damaged = bytes.clone();
        let last = damaged.len() - 3;
        damaged[last] ^= 1;
        fs::write(&file, &damaged).unwrap();
        if let Ok(model) = Model::open(&path) {
            let message = model.verify().unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("checksum"), "{message}");
        }
        fs::write(&file, &bytes).unwrap();
        assert_eq!(Model::open(&path).unwrap().verify().unwrap(), Verified::Intact);
    }
    for (name, text, wanted) in [
        ("config.json", "{", "config.json"),
        ("config.json", "{\"wordgrove\": {\"version\": 2}}", "layout version 2"),
        ("config.json", "{\"wordgrove\": {\"version\": 1, \"dim\": 5}}", "says 5 numbers per vector"),
        ("config.json", "{\"wordgrove\": {\"version\": 1, \"dim\": -1}}", "config.json"),
        ("tokenizer.json", "{}", "tokenizer.json"),
        ("model.safetensors", "", "model.safetensors"),
    ] {
        let file = path.join(name);
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, text).unwrap();
        let message = Model::open(&path).unwrap_err().to_string();
        assert!(message.contains(wanted), "{name}: {message}");
        fs::remove_file(&file).unwrap();
        if name != "config.json" {
            assert!(Model::open(&path).unwrap_err().to_string().contains(name));
        }
        fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn a_folder_that_model2vec_wrote_opens_without_what_only_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let (tokenizer, input, _, counts, config) = grown(4);
    Model::save(&path, &tokenizer, &input, None, &counts, &config).unwrap();
    fs::write(path.join("config.json"), "{\"model_type\": \"model2vec\", \"normalize\": true}").unwrap();
    let model = Model::open(&path).unwrap();
    assert_eq!((model.config.is_none(), model.nodes.is_none()), (true, true));
    assert_eq!(model.verify().unwrap(), Verified::Unknown);
}

#[test]
fn vectors_become_a_model_and_vectors_again() {
    let folder = tempfile::tempdir().unwrap();
    let (file, path, back) = (folder.path().join("v"), folder.path().join("model"), folder.path().join("back"));
    fs::write(&file, b"3 2\nking 1 2\nzee\xc3n 3 4\n. . . 5 6\n").unwrap();
    let vectors = open(&file, ReadOptions::default()).unwrap().embeddings;
    Model::save_vectors(&path, &vectors).unwrap();
    let model = Model::open(&path).unwrap();
    assert_eq!(model.embeddings.as_slice()[..2], [0.0, 0.0], "the unknown word");
    assert_eq!(bits(&model.embeddings)[2..], bits(&vectors));
    assert_eq!(model.embeddings.row_of("[UNK]"), None);
    assert_eq!(model.embeddings.row_of("king"), Some(1));
    assert_eq!(model.embeddings.row_of(".\\x20.\\x20."), Some(3));
    assert_eq!(model.config.unwrap().architecture, None);
    write_word2vec_text(&model.embeddings, &back).unwrap();
    assert_eq!(bits(&open(&back, ReadOptions::default()).unwrap().embeddings), bits(&vectors));
}

#[test]
fn a_models_vectors_are_written_by_falling_count_in_the_spelling_of_the_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("model"), folder.path().join("v"));
    save(&path, 4);
    let model = Model::open(&path).unwrap().embeddings;
    for write in [write_word2vec_text, write_word2vec_binary] {
        write(&model, &file).unwrap();
        let written = open(&file, ReadOptions::default()).unwrap().embeddings;
        assert_eq!(written.n_rows(), model.n_rows());
        let mother = written.row_of("Ġmother").unwrap();
        assert_eq!(written.row(mother), model.row(model.row_of("mother").unwrap()));
        assert_eq!(written.row(0), model.row(model.n_rows() - 1), "the count rises with the id here");
    }
}

#[test]
fn a_word_means_the_same_in_a_model_and_in_a_file_made_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let (model, file) = (folder.path().join("model"), folder.path().join("vectors.txt"));
    save(&model, 6);
    let embeddings = Model::open(&model).unwrap().embeddings;
    write_word2vec_text(&embeddings, &file).unwrap();
    let converted = open(&file, ReadOptions::default()).unwrap().embeddings;
    for word in ["mother", "father", "of", "m"] {
        let (a, b) = (embeddings.row_of(word).unwrap(), converted.row_of(word).unwrap());
        assert_eq!(embeddings.row(a), converted.row(b), "{word}");
    }
    // The text has "mother" both at the start of a line and after a space: two tokens, of which a word is the second.
    let spaced = converted.row_of("Ġmother").unwrap();
    assert_eq!(converted.row_of("mother"), Some(spaced));
}
