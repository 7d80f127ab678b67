//! What the map of pairs holds.

use super::*;

fn has_entry(token: &CancelToken) -> bool {
    PAIRS.lock().contains_key(&token.weak().unwrap().address())
}

/// An entry that stayed would be found by a token made later at the same address, which would be given a cancelled one.
#[test]
fn a_cancelled_token_has_no_entry() {
    let theirs = CancellationToken::new();
    let before = CancelToken::from_tokio(&theirs);
    assert!(has_entry(&before));
    theirs.cancel();
    let after = CancelToken::from_tokio(&theirs);
    assert!(after.is_cancelled() && !has_entry(&after) && !has_entry(&before));
    let ours = CancelToken::new();
    let _theirs = ours.to_tokio();
    assert!(has_entry(&ours));
    ours.cancel();
    let _theirs = ours.to_tokio();
    assert!(!has_entry(&ours));
}

/// Of two who make the pair of one token at once, one comes second.
#[test]
fn a_pair_that_came_second_leaves_the_entry_of_the_first() {
    let ours = CancelToken::new();
    let first = ours.to_tokio();
    let second = ours.pair_up(ours.weak().unwrap());
    assert_eq!((&second, &ours.to_tokio()), (&first, &first));
    first.cancel();
    assert!(ours.is_cancelled() && !has_entry(&ours));
}
