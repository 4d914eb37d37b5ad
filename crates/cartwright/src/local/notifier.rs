//! Notifications on one machine: lines of the log.

use async_trait::async_trait;

use crate::error::Result;
use crate::notifications::{Facts, Notification, Notifier};

/// Writes each notification to the log, at level info with the target `cartwright::notifications`, and to nobody: no channel
/// is configured that would reach people. The user name and the text stay out, because a log outlives an erased customer.
pub struct LogNotifier;

#[async_trait]
impl Notifier for LogNotifier {
    async fn notify(&self, notification: &Notification) -> Result<()> {
        let Notification { id, event, audience, correlation_id, subject, facts, .. } = notification;
        let (order, product) = match facts {
            Facts::Order { order_id, .. } => (Some(order_id.as_str()), None),
            Facts::Product { product_id, .. } => (None, Some(tracing::field::display(product_id))),
            Facts::Queue { .. } | Facts::Webhook { .. } => (None, None),
        };
        tracing::info!(target: "cartwright::notifications", %id, event, ?audience, order, product, correlation_id, "{subject}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::notifications::Audience;
    use crate::ordering::Status;
    use crate::values::{Money, OrderId};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_notification_is_a_line_of_the_log_that_names_nobody() {
        let log = Log::default();
        let writer = log.clone();
        let format = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        let _logging = tracing::subscriber::set_default(format.finish());
        let order_id = OrderId::new(Timestamp::UNIX_EPOCH, [7; 12]);
        let notification = Notification {
            id: Uuid::nil(),
            event: "OrderPlaced".into(),
            at: Timestamp::UNIX_EPOCH,
            correlation_id: "req-1".into(),
            audience: Audience::Customers,
            subject: format!("Order {order_id} was received"),
            text: "The text.".into(),
            facts: Facts::Order {
                order_id: order_id.clone(),
                user_name: "annabel".try_into().unwrap(),
                status: Status::Placed,
                total: Money::zero(iso_currency::Currency::USD),
            },
        };
        LogNotifier.notify(&notification).await.unwrap();
        let line = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let told = ["INFO", "cartwright::notifications", "OrderPlaced", "Customers", "req-1", order_id.as_str()];
        assert!(told.iter().all(|word| line.contains(word)), "{line}");
        assert!(line.lines().count() == 1 && !line.contains("annabel") && !line.contains("The text"), "{line}");
    }
}
