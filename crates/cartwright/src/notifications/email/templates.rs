//! What mails look like: templates in Jinja's language, built in or from a folder.
//!
//! HTML is escaped unless a template says otherwise, and a name that is not there is an error. All templates are tried when they
//! are loaded, with a notification of each kind, so that a mistake in one is found at the start and not when a mail is due.

use std::fmt;
use std::path::Path;

use iso_currency::Currency;
use jiff::Timestamp;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::notifications::{Audience, Facts, Notification, webhooks};
use crate::ordering::Status;
use crate::values::{Money, OrderId, ProductId};

/// The templates that are built in. A file of the folder with the same name takes the place of one.
const BUILT_IN: [(&str, &str); 5] = [
    ("subject.txt", include_str!("templates/subject.txt")),
    ("customer.txt", include_str!("templates/customer.txt")),
    ("customer.html", include_str!("templates/customer.html")),
    ("operators.txt", include_str!("templates/operators.txt")),
    ("operators.html", include_str!("templates/operators.html")),
];
/// Files of one event alone: its name and one of these.
const OF_AN_EVENT: [&str; 3] = [".subject.txt", ".txt", ".html"];
/// Events that are mailed, besides those that webhooks can be for.
const OTHER_EVENTS: [&str; 2] = ["DeliveryFailed", "SubscriptionDisabled"];
/// Largest template.
const MAX_TEMPLATE_BYTES: u64 = 256 * 1024;
/// Longest subject: longer lines may be cut on the way (RFC 5322, 2.1.1).
const MAX_SUBJECT_CHARS: usize = 200;

/// What mails look like.
pub struct Templates(Environment<'static>);

/// A mail without its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// For who reads text.
    pub text: String,
    /// For who reads HTML.
    pub html: String,
}

/// What is wrong with a folder of templates, in a sentence that names the file.
#[derive(Debug)]
pub struct TemplateError(String);

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TemplateError {}

/// What a template may name.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    #[serde(flatten)]
    notification: &'a Notification,
    /// The lines of the text.
    lines: Vec<&'a str>,
    /// The customer's name; empty when it is not known.
    name: &'a str,
}

impl Default for Templates {
    fn default() -> Self {
        Templates::of([]).expect("what is built in is right")
    }
}

impl Templates {
    /// The templates of a folder; those that are built in where it has none.
    ///
    /// # Errors
    /// A folder or file that cannot be read, a file of a name that means nothing, a template with a mistake in it.
    pub fn load(folder: &Path) -> Result<Templates, TemplateError> {
        let cannot =
            |path: &Path, why: &dyn fmt::Display| TemplateError(format!("cannot read {}: {why}", path.display()));
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|error| cannot(folder, &error))? {
            let path = entry.map_err(|error| cannot(folder, &error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let length = std::fs::metadata(&path).map_err(|error| cannot(&path, &error))?.len();
            if length > MAX_TEMPLATE_BYTES {
                return Err(TemplateError(format!("{} has more than {MAX_TEMPLATE_BYTES} bytes", path.display())));
            }
            files.push((name, std::fs::read_to_string(&path).map_err(|error| cannot(&path, &error))?));
        }
        Templates::of(files)
    }

    fn of(files: impl IntoIterator<Item = (String, String)>) -> Result<Templates, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let built_in = BUILT_IN.map(|(name, source)| (name.to_owned(), source.to_owned()));
        for (name, source) in built_in.into_iter().chain(files) {
            if !is_known(&name) {
                let all = BUILT_IN.map(|(name, _)| name).join(", ");
                let message =
                    format!("{name} is no template: there are {all}, and those of an event, such as OrderShipped.html");
                return Err(TemplateError(message));
            }
            let added = environment.add_template_owned(name.clone(), source);
            added.map_err(|error| TemplateError(format!("{name}: {error}")))?;
        }
        let templates = Templates(environment);
        for sample in samples() {
            for name in [None, Some("Ann Lee")] {
                templates.try_render(&sample, name)?;
            }
        }
        Ok(templates)
    }

    /// The mail of a notification, to somebody of that name.
    ///
    /// # Errors
    /// `internal` when a template cannot be filled in with this notification.
    pub fn render(&self, notification: &Notification, name: Option<&str>) -> Result<Rendered> {
        self.try_render(notification, name).map_err(Error::internal)
    }

    fn try_render(&self, notification: &Notification, name: Option<&str>) -> Result<Rendered, TemplateError> {
        let usual = match notification.audience {
            Audience::Customers => "customer",
            Audience::Operators => "operators",
        };
        let context =
            Context { notification, lines: notification.text.lines().collect(), name: name.unwrap_or_default() };
        let value = minijinja::Value::from(Serde(&context));
        let fill = |own: &str, usual: &str| {
            let own = format!("{}{own}", notification.event);
            let template = self.0.get_template(&own).or_else(|_| self.0.get_template(usual));
            let filled = template.and_then(|template| template.render(value.clone()));
            filled.map_err(|error| TemplateError(format!("{}: {error}", error.name().unwrap_or(&own))))
        };
        let subject = fill(".subject.txt", "subject.txt")?;
        let subject =
            subject.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_SUBJECT_CHARS).collect();
        Ok(Rendered {
            subject,
            text: fill(".txt", &format!("{usual}.txt"))?,
            html: fill(".html", &format!("{usual}.html"))?,
        })
    }
}

/// Whether a file of that name is a template.
fn is_known(name: &str) -> bool {
    let events = || webhooks::EVENTS.iter().chain(&OTHER_EVENTS);
    BUILT_IN.iter().any(|(built_in, _)| *built_in == name)
        || OF_AN_EVENT.iter().any(|end| name.strip_suffix(end).is_some_and(|stem| events().any(|event| *event == stem)))
}

/// A notification of each event, to try templates with.
fn samples() -> Vec<Notification> {
    let sample = |event: &str| {
        let (audience, facts) = match event {
            "ProductBackInStock" => (
                Audience::Customers,
                Facts::Product {
                    product_id: ProductId(Uuid::nil()),
                    product_name: Some("Kettle".try_into().ok()?),
                    available: 1,
                    user_name: Some("ann".try_into().ok()?),
                },
            ),
            "StockDepleted" | "StockReplenished" => (
                Audience::Operators,
                Facts::Product {
                    product_id: ProductId(Uuid::nil()),
                    product_name: None,
                    available: 0,
                    user_name: None,
                },
            ),
            "MessageDied" => (
                Audience::Operators,
                Facts::Queue { queue: "OrderQueue".into(), died_event: None, code: "malformed_event".into() },
            ),
            "DeliveryFailed" | "SubscriptionDisabled" => (
                Audience::Operators,
                Facts::Webhook { subscription_id: Uuid::nil(), delivery_id: None, reason: "It answered 500.".into() },
            ),
            _ => (
                Audience::Customers,
                Facts::Order {
                    order_id: OrderId::new(Timestamp::UNIX_EPOCH, [7; 12]),
                    user_name: "ann".try_into().ok()?,
                    status: Status::Shipped,
                    total: Money::zero(Currency::USD),
                },
            ),
        };
        Some(Notification {
            id: Uuid::nil(),
            event: event.to_owned(),
            at: Timestamp::UNIX_EPOCH,
            correlation_id: "request".to_owned(),
            audience,
            subject: "A subject".to_owned(),
            text: "A sentence.\nAnd a line.".to_owned(),
            facts,
        })
    };
    webhooks::EVENTS.iter().chain(&OTHER_EVENTS).filter_map(|event| sample(event)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)]) -> Result<Templates, TemplateError> {
        Templates::of(files.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())))
    }

    fn shipped() -> Notification {
        let mut shipped = samples().into_iter().find(|sample| sample.event == "OrderShipped").unwrap();
        shipped.text = "It has left our house.\n2 x <Pots> & pans".to_owned();
        shipped
    }

    #[test]
    fn html_is_escaped_and_text_is_not() {
        let mail = Templates::default().render(&shipped(), Some("<b>Ann</b>")).unwrap();
        assert!(
            mail.html.contains("2 x &lt;Pots&gt; &amp; pans") && mail.html.contains("&lt;b&gt;Ann"),
            "{}",
            mail.html
        );
        assert!(mail.text.contains("2 x <Pots> & pans") && mail.text.contains("<b>Ann</b>"), "{}", mail.text);
        assert_eq!(mail.subject, "A subject");
        let nameless = Templates::default().render(&shipped(), None).unwrap();
        assert!(nameless.text.starts_with("Hello,\n"), "{}", nameless.text);
    }

    #[test]
    fn a_template_of_an_event_is_for_that_event_alone() {
        let templates = load(&[
            ("OrderShipped.subject.txt", "Off it\ngoes: {{ facts.orderId }}\n"),
            ("customer.txt", "Dear {{ name or 'customer' }}: {{ text }}"),
        ])
        .unwrap();
        let mail = templates.render(&shipped(), None).unwrap();
        assert!(mail.subject.starts_with("Off it goes: ") && !mail.subject.contains('\n'), "{:?}", mail.subject);
        assert!(mail.text.starts_with("Dear customer: It has left"), "{}", mail.text);
        let mut packed = shipped();
        packed.event = "OrderPacked".to_owned();
        assert_eq!(templates.render(&packed, None).unwrap().subject, "A subject");
    }

    #[test]
    fn a_mistake_is_found_when_templates_are_loaded() {
        for (name, source, told) in [
            ("customer.txt", "{{ name", "customer.txt"),
            ("OrderShipped.html", "{{ facts.ordrId.x }}", "OrderShipped.html"),
            ("operators.txt", "{{ nonsense }}", "operators.txt"),
            ("OrderLost.txt", "", "OrderLost.txt is no template"),
            ("customer.md", "", "customer.md is no template"),
        ] {
            let why = load(&[(name, source)]).err().unwrap().to_string();
            assert!(why.contains(told), "{why}");
        }
    }
}
