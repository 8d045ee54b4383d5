//! One row against the nodes of its path in the tree.

use crate::math::lanes::{load, store};
use crate::math::machine::{Machine, Work, run};

/// A path: the rows of `nodes` (`[_, C]`) it passes, and the branch taken at each.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    pub(crate) nodes: &'a [f32],
    pub(crate) passed: &'a [u32],
    pub(crate) bits: &'a [u8],
}

/// −ln P of the path given `row` `[C]`, in nats; `gains[k]` becomes the loss's slope along the product with node k.
///
/// # Panics
/// When a node is beyond the table, or lengths differ.
pub(crate) fn follow(row: &[f32], path: Path<'_>, gains: &mut [f32]) -> f64 {
    assert!(path.passed.len() == path.bits.len() && path.passed.len() == gains.len());
    run(Follow { row, path, gains })
}

/// `to` += factor · `from`.
///
/// # Panics
/// When the lengths differ.
pub(crate) fn add_scaled(to: &mut [f32], from: &[f32], factor: f32) {
    assert_eq!(to.len(), from.len());
    run(AddScaled { to, from, factor });
}

struct Follow<'a> {
    row: &'a [f32],
    path: Path<'a>,
    gains: &'a mut [f32],
}

impl Work for Follow<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<M: Machine>(self, m: M) -> f64 {
        let Follow { row, path, gains } = self;
        let width = row.len();
        let mut nats = 0.0;
        for (k, gain) in gains.iter_mut().enumerate() {
            let node = &path.nodes[path.passed[k] as usize * width..][..width];
            let mut sum = m.splat(0.0);
            for at in (0..width).step_by(M::LANES) {
                sum = m.fma(load(m, row, at, 0.0), load(m, node, at, 0.0), sum);
            }
            // σ of the logit is the probability of bit 0.
            let sign = 1.0 - 2.0 * f64::from(path.bits[k]);
            let z = sign * f64::from(m.sum(sum));
            let small = (-z.abs()).exp();
            nats += (-z).max(0.0) + small.ln_1p();
            let wrong = if z > 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) };
            *gain = (-sign * wrong) as f32;
        }
        nats
    }
}

struct AddScaled<'a> {
    to: &'a mut [f32],
    from: &'a [f32],
    factor: f32,
}

impl Work for AddScaled<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, m: M) {
        let AddScaled { to, from, factor } = self;
        let factor = m.splat(factor);
        for at in (0..from.len()).step_by(M::LANES) {
            let sum = m.fma(load(m, from, at, 0.0), factor, load(m, to, at, 0.0));
            store(m, to, at, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::machine::Detected;

    #[test]
    fn a_path_and_its_slopes_are_those_of_f64_on_every_machine() {
        for width in [1, 7, 16, 33] {
            let numbers: Vec<f32> = (0..6 * width).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
            let (row, nodes) = numbers.split_at(width);
            let (passed, bits) = ([0, 3, 4], [0, 1, 0]);
            for machine in Detected::all() {
                let mut gains = [0.0; 3];
                let path = Path { nodes, passed: &passed, bits: &bits };
                let nats = machine.run(Follow { row, path, gains: &mut gains });
                let mut wanted = 0.0;
                let mut all = row.to_vec();
                for k in 0..3 {
                    let node = &nodes[passed[k] as usize * width..][..width];
                    let z: f64 = node.iter().zip(row).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                    let loss = |z: f64| (-(1.0 - 2.0 * f64::from(bits[k])) * z).exp().ln_1p();
                    wanted += loss(z);
                    let slope = (loss(z + 1e-5) - loss(z - 1e-5)) / 2e-5;
                    assert!((f64::from(gains[k]) - slope).abs() < 1e-5, "{} {width} {k}", machine.name());
                    machine.run(AddScaled { to: &mut all, from: node, factor: gains[k] });
                }
                assert!((nats - wanted).abs() < 1e-5, "{} {width}: {nats} {wanted}", machine.name());
                for i in 0..width {
                    let sum: f64 =
                        (0..3).map(|k| f64::from(gains[k]) * f64::from(nodes[passed[k] as usize * width + i])).sum();
                    assert!((f64::from(all[i]) - f64::from(row[i]) - sum).abs() < 1e-5);
                }
            }
        }
    }
}
