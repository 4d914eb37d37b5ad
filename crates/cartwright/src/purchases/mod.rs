//! Purchases that were made elsewhere, recorded through a queue.
//!
//! The door checks a purchase in whole, gives it an id, and answers at once; the queue does the writing. Every change of
//! a purchase is a [`Revision`] with a version of its own, counted at the door. The queue applies a revision only when its
//! version is greater than the one applied before, and remembers the version of what it deleted. So creates, updates and
//! deletes may come in any order and any number of times, and end in one state.
//!
//! The sums by product, category and day follow from what was applied: each applied revision takes out the share of the
//! one before it and puts in its own, once.

pub mod classic;
mod events;
pub mod http;
pub mod ops;
mod sent;
mod store;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use iso_currency::Currency;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::catalog::{Description, ProductName};
use crate::error::{Error, Kind, Result};
use crate::values::{Invalid, Money, Quantity, Text};

pub use events::{on_purchase_requested, on_purchase_stored};
pub use sent::{Names, Sent, SentPurchase};

/// The category of what was bought. Compared as it is, upper and lower case apart.
pub type Category = Text<1, 100>;
/// The name of who bought it.
pub type CustomerName = Text<1, 200>;

/// Longest product or customer id of another system, in characters: room for a UUID with any prefix.
pub const MAX_REFERENCE: usize = 128;

/// Which change of a purchase this is; the first is 1.
pub type Version = NonZeroU32;

fn invalid(why: impl Into<Cow<'static, str>>) -> Invalid {
    Invalid(why.into())
}

/// The id of a purchase: a UUID, version 7 when made here, so that ids sort by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PurchaseId(pub Uuid);

impl fmt::Display for PurchaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl PartialSchema for PurchaseId {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
            .into()
    }
}

impl ToSchema for PurchaseId {}

/// The id of a product or a customer in the system the purchase was made in: 1 to [`MAX_REFERENCE`] characters without
/// control characters. It need not be a UUID, and is compared as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference(String);

impl Reference {
    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reference {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            return Err(invalid("must not be empty"));
        }
        if text.chars().count() > MAX_REFERENCE {
            return Err(invalid(format!("must be at most {MAX_REFERENCE} characters")));
        }
        if text.chars().any(char::is_control) {
            return Err(invalid("must not contain control characters"));
        }
        Ok(Reference(text))
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.0
    }
}

impl PartialSchema for Reference {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .min_length(Some(1))
            .max_length(Some(MAX_REFERENCE))
            .into()
    }
}

impl ToSchema for Reference {}

/// When something was bought, to the millisecond, in UTC: `2021-02-28T10:02:12.034Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PurchaseTime(Timestamp);

impl PurchaseTime {
    /// The day, in UTC: `2021-02-28`.
    pub fn day(self) -> String {
        self.to_string().split('T').next().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for PurchaseTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl TryFrom<String> for PurchaseTime {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        let refuse = || invalid("must be a time of 1970 or later with its offset, such as 2021-02-28T10:02:12.034Z");
        let at: Timestamp = with_two_digits(text.trim()).parse().map_err(|_| refuse())?;
        let at = Timestamp::from_millisecond(at.as_millisecond()).map_err(|_| refuse())?;
        if at < Timestamp::UNIX_EPOCH { Err(refuse()) } else { Ok(PurchaseTime(at)) }
    }
}

impl From<PurchaseTime> for String {
    fn from(at: PurchaseTime) -> String {
        at.to_string()
    }
}

impl PartialSchema for PurchaseTime {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl ToSchema for PurchaseTime {}

/// Puts a zero before every number of one digit but a fraction: tills write `2021-2-22T8:01:21.5Z`.
fn with_two_digits(text: &str) -> String {
    let mut padded = String::with_capacity(text.len() + 4);
    let digit_at = |at: Option<usize>| at.and_then(|at| text.as_bytes().get(at)).is_some_and(u8::is_ascii_digit);
    let mut before = None;
    for (at, c) in text.char_indices() {
        let alone = !digit_at(at.checked_sub(1)) && !digit_at(Some(at + 1));
        if c.is_ascii_digit() && alone && !matches!(before, Some('.' | ',')) {
            padded.push('0');
        }
        padded.push(c);
        before = Some(c);
    }
    padded
}

/// A purchase. Every value is valid, `total` is `unit_price` × `quantity`, and both are in the shop's currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Purchase {
    /// What was bought, as the other system calls it.
    pub product_id: Reference,
    /// Its name.
    pub product_name: ProductName,
    /// What it is; empty when nobody said.
    #[serde(default)]
    pub product_description: Description,
    /// Its category.
    pub category: Category,
    /// What one cost.
    pub unit_price: Money,
    /// How many.
    pub quantity: Quantity,
    /// What they cost together.
    pub total: Money,
    /// Who bought it, as the other system calls them.
    pub customer_id: Reference,
    /// Their name.
    pub customer_name: CustomerName,
    /// When.
    pub purchased_at: PurchaseTime,
}

/// What is done to a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Recorded for the first time.
    Create,
    /// Replaced by another.
    Update,
    /// Taken out.
    Delete,
}

impl Action {
    /// The name as the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
        }
    }
}

/// One version of a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Which.
    pub version: Version,
    /// How it came about.
    pub action: Action,
    /// The purchase; nothing after a delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purchase: Option<Purchase>,
}

/// A revision that could not be applied. Not one that came through the door: it was put into the queue from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Which.
    pub version: Version,
    /// What it was to do.
    pub action: Action,
    /// What was wrong with it.
    pub reason: String,
}

/// What the queue made of a purchase so far. It stays when the purchase is deleted, so that what comes late is known to be
/// late.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// The greatest version that was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Revision>,
    /// The greatest version that could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl Stored {
    /// After `revision`; `None` when that, or a later one, was applied before.
    ///
    /// # Errors
    /// `purchase_version_taken` when another revision was applied under the same version.
    pub fn apply(&self, revision: &Revision) -> Result<Option<Stored>> {
        match &self.applied {
            Some(applied) if applied.version > revision.version => Ok(None),
            Some(applied) if applied == revision => Ok(None),
            Some(applied) if applied.version == revision.version => {
                let message = format!("Another version {} of this purchase was applied.", revision.version);
                Err(Error::new(Kind::Unprocessable, "purchase_version_taken", message))
            }
            Some(_) | None => Ok(Some(Stored { applied: Some(revision.clone()), failure: self.failure.clone() })),
        }
    }

    /// With a failure noted; `None` when that, or a later one, was noted before.
    pub fn fail(&self, failure: Failure) -> Option<Stored> {
        let is_newer = self.failure.as_ref().is_none_or(|noted| noted.version < failure.version);
        is_newer.then(|| Stored { applied: self.applied.clone(), failure: Some(failure) })
    }

    /// The purchase, unless it is deleted or was never there.
    pub fn purchase(&self) -> Option<&Purchase> {
        self.applied.as_ref().and_then(|revision| revision.purchase.as_ref())
    }
}

/// How far a purchase has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Progress {
    /// Accepted; the queue has not got to it yet.
    Pending,
    /// Stored.
    Stored,
    /// Its last change could not be applied.
    Failed,
}

/// Where a purchase stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its greatest version.
    pub version: Version,
    /// The greatest version that was applied; 0 for none.
    pub applied: u32,
    /// How far it has come.
    pub status: Progress,
    /// How its last good version came about.
    pub action: Action,
    /// Why its last change failed, if it did.
    pub reason: Option<String>,
    /// The purchase as accepted last; while a delete is on its way, as it is still stored.
    pub purchase: Option<Purchase>,
}

impl Standing {
    /// Where a purchase stands of which the door accepted `head` last and the queue made `stored`; `None` when there is no
    /// such purchase, or no longer.
    pub fn of(head: Option<&Revision>, stored: Option<&Stored>) -> Option<Standing> {
        let applied = stored.and_then(|stored| stored.applied.as_ref());
        let last = [head, applied].into_iter().flatten().max_by_key(|revision| revision.version);
        let failure = stored.and_then(|stored| stored.failure.as_ref());
        let failure = failure.filter(|failure| last.is_none_or(|last| failure.version > last.version));
        let status = match (failure, last) {
            (Some(_), _) => Progress::Failed,
            (None, Some(last)) if applied.is_none_or(|applied| applied.version < last.version) => Progress::Pending,
            (None, Some(last)) if last.action == Action::Delete => return None,
            (None, Some(_)) => Progress::Stored,
            (None, None) => return None,
        };
        // Of what was deleted nothing is stored either.
        let purchase = last.and_then(|last| last.purchase.as_ref().or(stored.and_then(Stored::purchase)));
        Some(Standing {
            version: failure.map(|failure| failure.version).or(last.map(|last| last.version))?,
            applied: applied.map_or(0, |applied| applied.version.get()),
            status,
            action: last.map(|last| last.action).or(failure.map(|failure| failure.action))?,
            reason: failure.map(|failure| failure.reason.clone()),
            purchase: purchase.cloned(),
        })
    }

    /// The purchase, unless there is none or it was accepted to be deleted.
    pub fn purchase(&self) -> Option<&Purchase> {
        self.purchase.as_ref().filter(|_| self.action != Action::Delete)
    }

    /// The version of the next change.
    ///
    /// # Errors
    /// `purchase_versions_exhausted`.
    pub fn next_version(&self) -> Result<Version> {
        let message = "This purchase has been changed as often as it can be.";
        let exhausted = || Error::new(Kind::Conflict, "purchase_versions_exhausted", message);
        self.version.checked_add(1).ok_or_else(exhausted)
    }
}

/// Event: the door accepted a purchase, a change of one, or its removal. It carries the whole record, and with it the name
/// of a customer, because the record is written from it and from nothing else.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PurchaseRequested {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// Which change of it this is.
    #[schema(value_type = u32)]
    pub version: Version,
    /// What is to be done.
    pub action: Action,
    /// The purchase as it is to be, unchecked: messages come from outside too. Nothing for a delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub record: Option<Box<RawValue>>,
}

impl PurchaseRequested {
    /// The revision that is asked for, or what is wrong with it.
    pub fn revision(&self, currency: Currency) -> Result<Revision, String> {
        let (version, action) = (self.version, self.action);
        if action == Action::Delete {
            return Ok(Revision { version, action, purchase: None });
        }
        let record = self.record.as_deref().filter(|record| record.get().starts_with('{'));
        let record = record.ok_or_else(|| format!("a message to {} has no record", action.name()))?;
        let sent: SentPurchase =
            serde_json::from_str(record.get()).map_err(|error| sent::shortened(&error.to_string()))?;
        match sent.check(&Names::V1, currency) {
            Ok(purchase) => Ok(Revision { version, action, purchase: Some(purchase) }),
            Err(fields) => {
                let fields: Vec<_> = fields.iter().map(|bad| format!("{} {}", bad.pointer, bad.detail)).collect();
                Err(fields.join("; "))
            }
        }
    }
}

/// Event: a revision was applied.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PurchaseStored {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// The version that was applied.
    #[schema(value_type = u32)]
    pub version: Version,
    /// What the version that was applied before it counted for in the sums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Share>,
    /// What this one counts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Share>,
}

/// What a purchase counts for in the sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The product it counts for.
    pub product_id: Reference,
    /// The category.
    pub category: Category,
    /// Its time; it counts for the day.
    pub purchased_at: PurchaseTime,
    /// How many pieces.
    pub quantity: Quantity,
    /// How much money.
    pub total: Money,
}

impl From<&Purchase> for Share {
    fn from(purchase: &Purchase) -> Self {
        Share {
            product_id: purchase.product_id.clone(),
            category: purchase.category.clone(),
            purchased_at: purchase.purchased_at,
            quantity: purchase.quantity,
            total: purchase.total,
        }
    }
}

/// What purchases are summed up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// The product.
    Product,
    /// Its category.
    Category,
    /// The day, in UTC.
    Day,
}

impl By {
    /// Everything there is.
    pub const ALL: [By; 3] = [By::Product, By::Category, By::Day];

    /// The name as the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            By::Product => "product",
            By::Category => "category",
            By::Day => "day",
        }
    }
}

/// The purchases of one product, category or day, added up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// The product's id, the category, or the day.
    pub key: String,
    /// How many purchases.
    pub count: i64,
    /// How many pieces.
    pub quantity: i64,
    /// How much money, in minor units.
    pub amount: i64,
}

impl Sum {
    fn of(key: String) -> Sum {
        Sum { key, count: 0, quantity: 0, amount: 0 }
    }

    /// True when nothing is summed up here, or no longer.
    pub fn is_zero(&self) -> bool {
        (self.count, self.quantity, self.amount) == (0, 0, 0)
    }
}

/// What an applied revision changes in the sums: takes out the share `before`, puts in the share `after`.
pub fn differences(before: Option<&Share>, after: Option<&Share>) -> Vec<(By, Sum)> {
    let mut sums: BTreeMap<(By, String), Sum> = BTreeMap::new();
    for (share, sign) in [(before, -1), (after, 1)] {
        let Some(share) = share else { continue };
        for by in By::ALL {
            let key = match by {
                By::Product => share.product_id.as_str().to_owned(),
                By::Category => share.category.as_str().to_owned(),
                By::Day => share.purchased_at.day(),
            };
            let sum = sums.entry((by, key.clone())).or_insert_with(|| Sum::of(key));
            sum.count += sign;
            sum.quantity += sign * i64::from(share.quantity.get());
            sum.amount += sign * share.total.amount;
        }
    }
    sums.into_iter().map(|((by, _), sum)| (by, sum)).filter(|(_, sum)| !sum.is_zero()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn purchase(product: &str, quantity: i64) -> Purchase {
        let usd = |amount| Money { amount, currency: Currency::USD };
        Purchase {
            product_id: Reference(product.to_owned()),
            product_name: "x".try_into().unwrap(),
            product_description: Description::default(),
            category: "c".try_into().unwrap(),
            unit_price: usd(100),
            quantity: quantity.try_into().unwrap(),
            total: usd(100 * quantity),
            customer_id: Reference("c".to_owned()),
            customer_name: "Ann".try_into().unwrap(),
            purchased_at: "2026-01-01T00:00:00Z".to_owned().try_into().unwrap(),
        }
    }

    fn revision(version: u32, action: Action) -> Revision {
        let purchase = (action != Action::Delete).then(|| purchase("p", i64::from(version)));
        Revision { version: Version::new(version).unwrap(), action, purchase }
    }

    fn failure(version: u32) -> Failure {
        Failure { version: Version::new(version).unwrap(), action: Action::Update, reason: "bad".into() }
    }

    #[test]
    fn two_revisions_of_one_version_are_told_apart() {
        let stored = Stored::default().apply(&revision(2, Action::Update)).unwrap().unwrap();
        assert_eq!(stored.apply(&revision(2, Action::Update)).unwrap(), None);
        assert_eq!(stored.apply(&revision(1, Action::Create)).unwrap(), None);
        assert_eq!(stored.apply(&revision(2, Action::Delete)).unwrap_err().code(), "purchase_version_taken");
    }

    #[test]
    fn the_longest_reference_and_the_first_time_there_is_are_taken_and_none_beyond() {
        let longest = "é".repeat(MAX_REFERENCE);
        assert_eq!(Reference::try_from(longest.clone()).unwrap().as_str(), longest);
        assert!(Reference::try_from(longest + "x").is_err());
        for (text, is_taken) in [("1970-01-01T00:00:00Z", true), ("1969-12-31T23:59:59.999Z", false)] {
            assert_eq!(PurchaseTime::try_from(text.to_owned()).is_ok(), is_taken, "{text}");
        }
    }

    #[test]
    fn a_failure_is_noted_once_and_never_in_place_of_a_later_one() {
        let noted = Stored::default().fail(failure(5)).unwrap();
        for (version, is_noted) in [(4, false), (5, false), (6, true)] {
            assert_eq!(noted.fail(failure(version)).is_some(), is_noted, "version {version}");
        }
    }

    #[test]
    fn a_purchase_stands_where_door_and_queue_say() {
        let stored = |applied: Option<Revision>, failed: Option<u32>| Stored { applied, failure: failed.map(failure) };
        let (create, update, delete) =
            (revision(1, Action::Create), revision(2, Action::Update), revision(2, Action::Delete));
        let standing = |head: Option<&Revision>, stored: &Stored| {
            Standing::of(head, Some(stored))
                .map(|s| (s.version.get(), s.status, s.action, s.purchase.map(|p| p.quantity.get())))
        };
        let nothing = stored(None, None);
        let created = stored(Some(create.clone()), None);
        assert_eq!(standing(None, &nothing), None);
        assert_eq!(standing(Some(&create), &nothing), Some((1, Progress::Pending, Action::Create, Some(1))));
        assert_eq!(standing(Some(&create), &created), Some((1, Progress::Stored, Action::Create, Some(1))));
        assert_eq!(standing(None, &created), Some((1, Progress::Stored, Action::Create, Some(1))));
        assert_eq!(standing(Some(&update), &created), Some((2, Progress::Pending, Action::Update, Some(2))));
        assert_eq!(standing(Some(&delete), &created), Some((2, Progress::Pending, Action::Delete, Some(1))));
        assert_eq!(standing(Some(&delete), &stored(Some(delete.clone()), None)), None);
        assert_eq!(standing(None, &stored(None, Some(1))), Some((1, Progress::Failed, Action::Update, None)));
        let failed = stored(Some(create.clone()), Some(5));
        assert_eq!(standing(Some(&update), &failed), Some((5, Progress::Failed, Action::Update, Some(2))));
        assert_eq!(standing(Some(&delete), &failed), Some((5, Progress::Failed, Action::Delete, Some(1))));
        let good_after_all = stored(Some(update.clone()), Some(2));
        assert_eq!(standing(Some(&update), &good_after_all), Some((2, Progress::Stored, Action::Update, Some(2))));
        let mended = stored(Some(revision(6, Action::Update)), Some(5));
        assert_eq!(standing(Some(&create), &mended), Some((6, Progress::Stored, Action::Update, Some(6))));
        let deleted = stored(Some(delete.clone()), Some(5));
        assert_eq!(standing(Some(&delete), &deleted), Some((5, Progress::Failed, Action::Delete, None)));
    }

    proptest! {
        #[test]
        fn whatever_comes_in_whatever_order_ends_in_the_greatest_version_and_its_sums(
            messages in proptest::collection::vec((1_u32..6, any::<bool>()), 1..40),
        ) {
            let action = |version: u32| match version { 1 => Action::Create, 4 => Action::Delete, _ => Action::Update };
            let (mut stored, mut summed) = (Stored::default(), BTreeMap::<(By, String), i64>::new());
            for &(version, good) in &messages {
                let next = if good { stored.apply(&revision(version, action(version))).unwrap() } else { stored.fail(failure(version)) };
                let Some(next) = next else { continue };
                let (before, after) = (stored.purchase().map(Share::from), next.purchase().map(Share::from));
                for (by, sum) in differences(before.as_ref(), after.as_ref()) {
                    *summed.entry((by, sum.key)).or_default() += sum.amount;
                }
                stored = next;
            }
            let greatest = |wanted: bool| messages.iter().filter(|(_, good)| *good == wanted).map(|(version, _)| *version).max();
            let expected = greatest(true).map(|version| revision(version, action(version)));
            prop_assert_eq!(stored.failure.as_ref().map(|failure| failure.version.get()), greatest(false));
            let total = expected.as_ref().and_then(|revision| revision.purchase.as_ref()).map_or(0, |purchase| purchase.total.amount);
            prop_assert_eq!(&stored.applied, &expected);
            prop_assert!(summed.values().all(|sum| *sum == total), "{:?}", summed);
        }

        #[test]
        fn times_are_normalised_once_and_no_text_is_a_defect(text in "[0-9TZ:.+é -]{0,30}", millis in 0_i64..4_000_000_000_000) {
            let _ = PurchaseTime::try_from(text);
            let at = PurchaseTime(Timestamp::from_millisecond(millis).unwrap());
            prop_assert_eq!(PurchaseTime::try_from(at.to_string()), Ok(at));
            prop_assert_eq!(at.to_string().len(), "2021-02-28T10:02:12.034Z".len());
        }
    }
}
