//! Files → sentences.
