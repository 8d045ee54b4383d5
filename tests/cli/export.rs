//! Here belongs: what `export` writes for other people's programs.

use wordgrove::vectors::Model;

use crate::common::Home;

#[test]
fn vectors_are_exported_as_a_table_that_is_a_model() {
    let home = Home::with_model();
    home.say("export model table --to static-embedding --quiet").done();
    let (model, table) = (Model::open(&home.path("model")).unwrap(), Model::open(&home.path("table")).unwrap());
    assert_eq!(table.embeddings.as_slice(), model.embeddings.as_slice());
    assert!(table.nodes.is_none(), "nobody else has a use for the tree");
    home.say("convert model v.txt --quiet").done();
    home.say("export v.txt of-a-file --to static-embedding --quiet").done();
    home.say("nearest of-a-file king").done();
    home.refuses("export model table", 2, &["--to"]);
    home.refuses("export model table --to pickle", 2, &["static-embedding"]);
    home.refuses("export model v.txt --to static-embedding", 3, &["v.txt"]);
}

#[cfg(feature = "transformer")]
mod transformer {
    use super::*;
    use wordgrove::transformer::{Checkpoint, Layout};

    #[test]
    fn a_transformer_of_each_shape_begins_with_the_vectors() {
        let home = Home::with_model();
        let model = Model::open(&home.path("model")).unwrap();
        for (shape, layout) in
            [("decoder", Layout::Gpt2), ("encoder-decoder", Layout::Marian), ("encoder", Layout::Bert)]
        {
            home.say(&format!("export model {shape} --to transformer --shape {shape} --n-layers 1 --quiet")).done();
            let checkpoint = Checkpoint::open(&home.path(shape)).unwrap();
            assert_eq!(checkpoint.layout, layout);
            let config = checkpoint.transformer.config();
            assert_eq!((config.d_model, config.n_heads, config.n_layers), (8, 8, 1));
            let table = checkpoint.token_table().unwrap().unwrap();
            // The rows are moved and stretched, all alike: differences keep their proportions.
            let rows = ["king", "queen", "france", "child"].map(|word| {
                let row = model.embeddings.row_of(word).unwrap();
                assert_eq!(table.row_of(word), Some(row));
                (model.embeddings.row(row), table.row(row))
            });
            let [before, after] = [|row: &(&[f32], &[f32])| row.0.to_vec(), |row: &(&[f32], &[f32])| row.1.to_vec()]
                .map(|side| {
                    rows[1..].iter().flat_map(|row| difference(&side(row), &side(&rows[0]))).collect::<Vec<f32>>()
                });
            let largest = (0..before.len()).max_by(|&i, &j| before[i].abs().total_cmp(&before[j].abs())).unwrap();
            let scale = after[largest] / before[largest];
            assert!(scale > 0.0 && before.iter().zip(&after).all(|(x, y)| (y - scale * x).abs() < 1e-5), "{shape}");
            // And out again, as a table.
            home.say(&format!("export {shape} table --to static-embedding --quiet")).done();
            assert_eq!(Model::open(&home.path("table")).unwrap().embeddings.as_slice(), table.as_slice());
            home.refuses(&format!("export {shape} again --to transformer"), 3, &["copy the folder"]);
        }
    }

    fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
        a.iter().zip(b).map(|(x, y)| x - y).collect()
    }

    #[test]
    fn settings_that_do_not_fit_are_refused_before_anything_is_written() {
        let home = Home::with_model();
        home.refuses(
            "export model t --to transformer --n-heads 3",
            2,
            &["--n-heads", "divisor of d-model: 1, 2, 4, 8"],
        );
        home.refuses("export model t --to transformer --d-model 0", 2, &["1 to 16384"]);
        home.refuses("export model t --to transformer --d-model abc", 2, &["1 to 16384"]);
        home.refuses("export model t --to transformer --n-layers -1", 2, &["1 to 1000"]);
        home.refuses("export model t --to transformer --context-len 1000000000", 2, &["1048576"]);
        home.refuses("export model t --to transformer --shape sphere", 2, &["shape"]);
        home.refuses("export model model --to transformer", 3, &["model"]);
        home.refuses("export none t --to transformer", 1, &["none"]);
        home.say("convert model v.txt --quiet").done();
        home.refuses("export v.txt t --to transformer", 3, &["convert"]);
    }
}
