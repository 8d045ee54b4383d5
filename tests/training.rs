//! Training through the public names: what is learned, and that what is printed is true.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use wordgrove::{
    Architecture, CbowGradient, CheckpointFolder, Checkpoints, Error, Event, HuffmanTree, IdStream, IdStreamBuilder,
    Loss, Measure, Progress, Silent, TokenId, Tokenizer, TrainConfig, TrainState, Trained, train, train_from,
};

/// Sentences in which tokens come in groups of ten: those of a group keep company, and all groups share ten others.
fn grouped_stream(n_sentences: u64) -> IdStream {
    let mut builder = IdStreamBuilder::new(70, Path::new("."));
    let mut state = 1u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % below) as u32
    };
    for _ in 0..n_sentences {
        let group = random(6);
        let ids: Vec<TokenId> =
            (0..12).map(|_| TokenId(if random(3) == 0 { 60 + random(10) } else { group * 10 + random(10) })).collect();
        builder.push(&ids).unwrap();
        builder.end_sentence().unwrap();
    }
    builder.finish().unwrap()
}

fn config(architecture: Architecture) -> TrainConfig {
    TrainConfig { architecture, dim: 24, epochs: 4, sample: 0.0, workers: 1, hold_out: 0.02, ..TrainConfig::default() }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn tokens_that_keep_company_get_alike_vectors_with_one_worker_and_with_three() {
    let stream = grouped_stream(6_000);
    let tree = HuffmanTree::from_counts(stream.counts()).unwrap();
    let ways = [
        (Architecture::Cbow, Loss::HierarchicalSoftmax, CbowGradient::Whole),
        (Architecture::SkipGram, Loss::HierarchicalSoftmax, CbowGradient::Whole),
        (Architecture::Cbow, Loss::negative_sampling(), CbowGradient::Whole),
        (Architecture::SkipGram, Loss::negative_sampling(), CbowGradient::Whole),
        (Architecture::Cbow, Loss::HierarchicalSoftmax, CbowGradient::Mean),
        (Architecture::Cbow, Loss::negative_sampling(), CbowGradient::Mean),
    ];
    for (architecture, loss, cbow_gradient) in ways {
        for workers in [1, 3] {
            // A context's share of the mean's gradient is small: see `CbowGradient`.
            let learning_rate = (cbow_gradient == CbowGradient::Mean).then_some(0.2);
            let config = TrainConfig { loss, cbow_gradient, learning_rate, workers, ..config(architecture) };
            let trained = train(&stream, &tree, &config, &Silent).unwrap();
            for id in 0..60 {
                let row = trained.input.row(id);
                let mut others: Vec<usize> = (0..60).filter(|&other| other != id).collect();
                others
                    .sort_by(|&a, &b| cosine(row, trained.input.row(b)).total_cmp(&cosine(row, trained.input.row(a))));
                let of_its_group = others[..9].iter().filter(|&&other| other / 10 == id / 10).count();
                assert!(
                    of_its_group >= 8,
                    "{architecture} {loss} {cbow_gradient}, {workers} workers, token {id}: {:?}",
                    &others[..9]
                );
            }
        }
    }
}

#[test]
fn losses_fall_and_the_held_out_one_is_the_true_mean_over_a_normalised_distribution() {
    let stream = grouped_stream(3_000);
    let tree = HuffmanTree::from_counts(stream.counts()).unwrap();
    for architecture in [Architecture::Cbow, Architecture::SkipGram] {
        let trained = train(&stream, &tree, &config(architecture), &Silent).unwrap();
        let held_out: Vec<f64> = trained.epochs.iter().map(|epoch| epoch.held_out_bits.unwrap()).collect();
        assert!(held_out.windows(2).all(|pair| pair[1] < pair[0]), "{held_out:?}");
        // 70 tokens: 6.1 bits know nothing. The group and the share of common tokens are worth about 1.6 of them.
        assert!((4.2..5.4).contains(&held_out[3]), "{architecture}: {held_out:?}");
        assert!((trained.epochs[3].train_bits - held_out[3]).abs() < 0.2);
        // The distribution behind it sums to 1 for any context.
        for context in [0, 33, 69] {
            let hidden = trained.input.row(context);
            let logit = |node: u32| {
                let theta = trained.output.row(node as usize);
                theta.iter().zip(hidden).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
            };
            let sum: f64 = (0..70).map(|id| (-tree.bits_of(TokenId(id), logit)).exp2()).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        }
    }
}

#[test]
fn the_objective_of_negative_sampling_starts_at_a_bit_a_classifier_falls_and_is_not_called_a_loss() {
    let stream = grouped_stream(3_000);
    let tree = HuffmanTree::from_counts(stream.counts()).unwrap();
    for architecture in [Architecture::Cbow, Architecture::SkipGram] {
        let loss = Loss::NegativeSampling { negatives: 3, exponent: 0.75 };
        let still = TrainConfig { loss, learning_rate: Some(1e-9), epochs: 1, ..config(architecture) };
        let trained = train(&stream, &tree, &still, &Silent).unwrap();
        // Zero rows decide nothing: one bit for the center and for each of three negatives, but for those, about one in
        // 60, that hit the center and are skipped.
        for bits in [trained.epochs[0].train_bits, trained.epochs[0].held_out_bits.unwrap()] {
            assert!((3.9..3.99).contains(&bits), "{architecture}: {bits}");
        }
        assert_eq!((trained.output.n_rows(), trained.epochs[0].measure), (70, Measure::NsObjective));

        let trained = train(&stream, &tree, &TrainConfig { loss, ..config(architecture) }, &Silent).unwrap();
        let held_out: Vec<f64> = trained.epochs.iter().map(|epoch| epoch.held_out_bits.unwrap()).collect();
        assert!(held_out.windows(2).all(|pair| pair[1] < pair[0]) && held_out[3] < 3.3, "{held_out:?}");
        // A token is told from the others by its own group: that is what the output rows have learned.
        let logit = |context: usize, token: usize| {
            let rows = trained.input.row(context).iter().zip(trained.output.row(token));
            rows.map(|(a, b)| a * b).sum::<f32>()
        };
        for context in 0..60 {
            let mean =
                |tokens: &[usize]| tokens.iter().map(|&token| logit(context, token)).sum::<f32>() / tokens.len() as f32;
            let (own, others): (Vec<usize>, Vec<usize>) = (0..60).partition(|token| token / 10 == context / 10);
            assert!(mean(&own) > mean(&others) + 1.0, "{architecture} {context}: {} {}", mean(&own), mean(&others));
        }
    }
}

#[test]
fn one_worker_and_one_seed_give_the_same_bytes_twice_and_another_seed_gives_others() {
    let stream = grouped_stream(500);
    let tree = HuffmanTree::from_counts(stream.counts()).unwrap();
    let bytes = |seed, loss| {
        let config = TrainConfig { seed, loss, ..config(Architecture::SkipGram) };
        let trained = train(&stream, &tree, &config, &Silent).unwrap();
        let bits = trained.input.as_slice().iter().chain(trained.output.as_slice()).map(|x| x.to_bits());
        (bits.collect::<Vec<u32>>(), trained.epochs.iter().map(|e| e.train_bits.to_bits()).collect::<Vec<u64>>())
    };
    for loss in [Loss::HierarchicalSoftmax, Loss::negative_sampling()] {
        assert!(bytes(1, loss) == bytes(1, loss));
        assert!(bytes(1, loss) != bytes(2, loss));
    }
}

#[test]
fn an_absurd_learning_rate_stops_with_advice() {
    let stream = grouped_stream(3_000);
    let tree = HuffmanTree::from_counts(stream.counts()).unwrap();
    let config = TrainConfig { learning_rate: Some(10.0), epochs: 30, ..config(Architecture::Cbow) };
    let error = train(&stream, &tree, &config, &Silent).unwrap_err();
    assert!(matches!(error, Error::Diverged(_)), "{error}");
    assert!(error.to_string().contains("try --learning-rate"), "{error}");
}

#[test]
fn a_request_to_stop_is_heard() {
    struct Impatient;
    impl Progress for Impatient {
        fn report(&self, _: &Event<'_>) {}
        fn stop_requested(&self) -> bool {
            true
        }
    }
    let stream = grouped_stream(3_000);
    let tree = HuffmanTree::from_counts(stream.counts()).unwrap();
    let error = train(&stream, &tree, &config(Architecture::Cbow), &Impatient).unwrap_err();
    assert!(matches!(error, Error::Interrupted(_)), "{error}");
}

#[test]
fn tokens_that_never_occur_have_zero_vectors_and_tiny_texts_are_refused_or_trained() {
    let mut builder = IdStreamBuilder::new(5, Path::new("."));
    builder.push(&[TokenId(1), TokenId(2), TokenId(1)]).unwrap();
    let stream = builder.finish().unwrap();
    let tree = HuffmanTree::from_counts(stream.counts()).unwrap();
    let trained = train(&stream, &tree, &config(Architecture::SkipGram), &Silent).unwrap();
    assert_eq!(trained.input.row(0), [0.0; 24]);
    assert!(trained.input.row(1).iter().any(|&x| x != 0.0));
    assert_eq!(trained.epochs[0].held_out_bits, None, "a single line is not taken away");

    let one = {
        let mut builder = IdStreamBuilder::new(1, Path::new("."));
        builder.push(&[TokenId(0); 50]).unwrap();
        builder.finish().unwrap()
    };
    let tree = HuffmanTree::from_counts(one.counts()).unwrap();
    let trained = train(&one, &tree, &config(Architecture::Cbow), &Silent).unwrap();
    assert_eq!(trained.epochs[0].train_bits, 0.0, "the only token is certain");
    let sampled = TrainConfig { loss: Loss::negative_sampling(), ..config(Architecture::Cbow) };
    let trained = train(&one, &tree, &sampled, &Silent).unwrap();
    assert!(trained.epochs[0].train_bits < 1.0, "there is nothing else to draw");

    let none = IdStreamBuilder::new(5, Path::new(".")).finish().unwrap();
    let tree = HuffmanTree::from_counts(none.counts()).unwrap();
    assert!(matches!(train(&none, &tree, &config(Architecture::Cbow), &Silent), Err(Error::TooFew { .. })));
}

/// Asks to stop when it has been asked so often.
struct StopAt(AtomicUsize);

impl Progress for StopAt {
    fn stop_requested(&self) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

fn bits(trained: &Trained) -> (Vec<u32>, Vec<(u64, Option<u64>)>) {
    let numbers = trained.input.as_slice().iter().chain(trained.output.as_slice()).map(|x| x.to_bits()).collect();
    let losses = trained.epochs.iter().map(|e| (e.train_bits.to_bits(), e.held_out_bits.map(f64::to_bits))).collect();
    (numbers, losses)
}

#[test]
fn a_run_that_is_interrupted_at_any_moment_and_resumed_is_the_uninterrupted_one() {
    // C1: every run is stopped after a number of questions that grows, and the next one goes on from its checkpoint.
    let stream = grouped_stream(20_000);
    let tree = HuffmanTree::from_counts(stream.counts()).unwrap();
    let words = (0..70).map(|i| format!("word{i}").into_bytes()).collect();
    let tokenizer = Tokenizer::from_words(words).unwrap();
    for (architecture, loss, workers) in [
        (Architecture::SkipGram, Loss::HierarchicalSoftmax, 1),
        (Architecture::Cbow, Loss::HierarchicalSoftmax, 2),
        (Architecture::SkipGram, Loss::negative_sampling(), 2),
    ] {
        let config = TrainConfig { loss, workers, deterministic: workers > 1, epochs: 3, ..config(architecture) };
        let whole = train(&stream, &tree, &config, &Silent).unwrap();
        let home = tempfile::tempdir().unwrap();
        let mut folder = CheckpointFolder::open(&home.path().join("run")).unwrap();
        let mut n_interrupted = 0;
        let resumed = loop {
            let state = match folder.read(&Silent).unwrap() {
                Some(checkpoint) => {
                    assert_eq!((&checkpoint.config, &checkpoint.text), (&config, &stream.fingerprint()));
                    checkpoint.state
                }
                None => TrainState::begin(&stream, &config).unwrap(),
            };
            // Seldom, so that only interrupts make checkpoints; every other time at each shard.
            let every = Duration::from_nanos(if n_interrupted % 2 == 0 { u64::MAX } else { 1 });
            let mut checkpoints = Checkpoints::new(&folder, every, &stream, &tokenizer, &config, "".into());
            let stop = StopAt(AtomicUsize::new(2 + n_interrupted));
            match train_from(state, &stream, &tree, &config, Some(&mut checkpoints), &stop) {
                Ok(trained) => break trained,
                Err(Error::Interrupted(_)) => n_interrupted += 1,
                Err(other) => panic!("{other}"),
            }
        };
        assert!(n_interrupted >= 2, "{n_interrupted}");
        assert!(bits(&resumed) == bits(&whole), "{architecture} {loss} {workers}, interrupted {n_interrupted} times");
    }
}

#[test]
fn deterministic_training_gives_the_same_bytes_for_any_number_of_threads_and_learns_as_well() {
    let stream = grouped_stream(6_000);
    let tree = HuffmanTree::from_counts(stream.counts()).unwrap();
    for (architecture, loss) in [
        (Architecture::SkipGram, Loss::HierarchicalSoftmax),
        (Architecture::Cbow, Loss::HierarchicalSoftmax),
        (Architecture::SkipGram, Loss::negative_sampling()),
        (Architecture::Cbow, Loss::negative_sampling()),
    ] {
        let config = TrainConfig { loss, ..config(architecture) };
        let plain = train(&stream, &tree, &config, &Silent).unwrap();
        let with = |workers, seed| {
            let config = TrainConfig { deterministic: true, workers, seed, ..config.clone() };
            train(&stream, &tree, &config, &Silent).unwrap()
        };
        let one = with(1, 1);
        for workers in [2, 3, 8] {
            assert!(bits(&with(workers, 1)) == bits(&one), "{architecture} {loss}: {workers} workers");
        }
        assert!(bits(&with(1, 2)) != bits(&one));
        let held_out = |trained: &Trained| trained.epochs[3].held_out_bits.unwrap();
        // Among 70 tokens every row is a frequent one, and lanes that are averaged are behind for a while.
        let ratio = held_out(&one) / held_out(&plain);
        assert!((0.9..1.05).contains(&ratio), "{architecture} {loss}: {} {}", held_out(&one), held_out(&plain));
    }
}
