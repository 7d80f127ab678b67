//! One dependency behind a bulkhead.

use std::time::Duration;
use watertight::{Budget, BuildError, Bulkhead, CallError, Context, Isolation, Recovery, Retry, Trip};

/// A client whose calls take a time-out.
#[derive(Clone)]
pub struct Client;
pub struct Order(pub u32);
#[derive(Debug, PartialEq)]
pub struct Receipt(pub u32);
#[derive(Debug, PartialEq)]
pub struct Declined;

impl std::fmt::Display for Declined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("declined")
    }
}
impl std::error::Error for Declined {}

impl Client {
    fn charge(&self, order: &Order, _timeout: Option<Duration>) -> Result<Receipt, Declined> {
        if order.0 == 0 { Err(Declined) } else { Ok(Receipt(order.0)) }
    }

    async fn charge_async(&self, order: &Order, cx: &Context) -> Result<Receipt, Declined> {
        tokio::task::yield_now().await;
        self.charge(order, cx.remaining())
    }
}

pub fn build() -> Result<Bulkhead, BuildError> {
    Bulkhead::builder("payments", Isolation::Threads(4))
        .queue(10)
        .breaker(Trip::rate(0.5).min_calls(20), Recovery::after(Duration::from_secs(5)).probes(3))
        .retry(Retry::exponential(Duration::from_millis(1)).attempts(3).budget(Budget::percent(20)))
        .timeout(Duration::from_secs(60))
        .build()
}

pub fn build_without_threads() -> Result<Bulkhead, BuildError> {
    Bulkhead::builder("rates", Isolation::Permits(32)).timeout(Duration::from_secs(60)).build()
}

/// In the compartment, once: it may consume what it captures.
pub fn charge(payments: &Bulkhead, cx: &Context, client: Client, order: Order) -> Result<Receipt, CallError<Declined>> {
    let receipt = payments.call(cx, move |cx| client.charge(&order, cx.remaining()))?;
    Ok(receipt)
}

/// On this thread: borrows are fine.
pub fn charge_here(
    payments: &Bulkhead,
    cx: &Context,
    client: &Client,
    order: &Order,
) -> Result<Receipt, CallError<Declined>> {
    payments.call_here(cx, |cx| client.charge(order, cx.remaining()))
}

/// In the compartment, awaited.
pub async fn charge_blocking(
    payments: &Bulkhead,
    cx: &Context,
    client: Client,
    order: Order,
) -> Result<Receipt, CallError<Declined>> {
    payments.call_blocking(cx, move |cx| client.charge(&order, cx.remaining())).await
}

/// Asynchronous work, borrowing.
pub async fn charge_async(
    payments: &Bulkhead,
    cx: &Context,
    client: &Client,
    order: &Order,
) -> Result<Receipt, CallError<Declined>> {
    payments.call_async(cx, async |cx| client.charge_async(order, &cx).await).await
}

/// Asynchronous work that owns, so it can leave.
pub async fn charge_spawned(
    payments: &Bulkhead,
    cx: &Context,
    client: Client,
    order: Order,
) -> Result<Receipt, CallError<Declined>> {
    let spawned = tokio::spawn(payments.call_async(cx, async move |cx| client.charge_async(&order, &cx).await));
    spawned.await.expect("it does not panic")
}

/// May run again: what consumes its captures does not compile here.
pub fn charge_idempotent(
    payments: &Bulkhead,
    cx: &Context,
    client: Client,
    order: Order,
) -> Result<Receipt, CallError<Declined>> {
    payments.idempotent().call(cx, move |cx| client.charge(&order, cx.remaining()))
}

/// Work whose own error is anyhow: one level instead of two.
pub fn charge_anyhow(payments: &Bulkhead, cx: &Context, client: Client, order: Order) -> anyhow::Result<Receipt> {
    let charge = move |cx: &Context| -> anyhow::Result<Receipt> { Ok(client.charge(&order, cx.remaining())?) };
    payments.call(cx, charge).map_err(CallError::flatten)
}

#[cfg(test)]
mod tests {
    use super::*;
    use watertight::RejectReason;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn every_face_gives_the_receipt_or_the_clients_own_error() {
        let (payments, cx, client) = (build().unwrap(), Context::background(), Client);
        for (n, expected) in [(7, Ok(Receipt(7))), (0, Err(Declined))] {
            let own = |out: Result<Receipt, CallError<Declined>>| match out {
                Err(CallError::Failed(declined)) => Err(declined),
                other => Ok(other.unwrap()),
            };
            let order = Order(n);
            assert_eq!(own(charge_here(&payments, &cx, &client, &order)), expected);
            assert_eq!(own(charge_async(&payments, &cx, &client, &order).await), expected);
            assert_eq!(own(charge(&payments, &cx, client.clone(), Order(n))), expected);
            assert_eq!(own(charge_blocking(&payments, &cx, client.clone(), Order(n)).await), expected);
            assert_eq!(own(charge_spawned(&payments, &cx, client.clone(), Order(n)).await), expected);
            assert_eq!(own(charge_idempotent(&payments, &cx, client.clone(), Order(n))), expected);
            let flat = charge_anyhow(&payments, &cx, client.clone(), Order(n));
            assert_eq!(flat.map_err(|e| e.downcast::<Declined>().unwrap()), expected);
        }
    }

    #[test]
    fn without_threads_there_is_nothing_to_leave_the_call_on() {
        let (rates, cx) = (build_without_threads().unwrap(), Context::background());
        assert_eq!(charge_here(&rates, &cx, &Client, &Order(7)).unwrap(), Receipt(7));
        let refused = charge(&rates, &cx, Client, Order(7)).unwrap_err();
        assert!(matches!(refused, CallError::Rejected(RejectReason::NoThreads)));
    }
}
