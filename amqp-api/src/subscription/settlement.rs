//! What becomes of a delivery when its handler is done.

/// What becomes of a delivery when its handler is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Settlement {
    /// It is acked: it has been dealt with.
    Ack,
    /// It is put back, near its old place, and comes again at once.
    Requeue,
    /// It is dead-lettered or dropped.
    Reject,
    /// It is treated as that of a handler that failed: see [`Handling::on_error`](crate::Handling::on_error).
    Failed,
}

/// What a handler may return.
///
/// | | |
/// |---|---|
/// | `()` | the delivery is acked |
/// | [`Settlement`] | what it says |
/// | `Ok(value)` | what the value says: `Ok(())` is an ack |
/// | `Err(_)` | [`Settlement::Failed`]; the error is dropped, so log it in the handler |
pub trait IntoSettlement {
    /// What becomes of the delivery.
    fn into_settlement(self) -> Settlement;
}

impl IntoSettlement for () {
    fn into_settlement(self) -> Settlement {
        Settlement::Ack
    }
}

impl IntoSettlement for Settlement {
    fn into_settlement(self) -> Settlement {
        self
    }
}

impl<T: IntoSettlement, E> IntoSettlement for Result<T, E> {
    fn into_settlement(self) -> Settlement {
        self.map_or(Settlement::Failed, T::into_settlement)
    }
}
