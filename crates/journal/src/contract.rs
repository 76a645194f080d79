//! What every backend must do, as a suite that each of them runs. It panics at the first claim that fails.
