//! A token's number.

/// A token's number: the tokenizer's id, the row of the input vectors, the leaf of the Huffman tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct TokenId(pub u32);

impl TokenId {
    /// The number as a row index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
