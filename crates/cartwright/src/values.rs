//! Values that are parsed once and trusted after: money, quantities, names, ids.
//!
//! Each type can only be made from text or numbers that obey its rule, so the code behind the door never checks again.
//! The rule stands beside the type; its error says what would be accepted.

use std::borrow::Cow;
use std::fmt;

use iso_currency::Currency;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use svix_ksuid::Ksuid;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::error::{Error, Kind, Result};

/// Why a value was refused: a sentence without its subject, as in "must be at most 100 characters".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub Cow<'static, str>);

fn invalid(why: impl Into<Cow<'static, str>>) -> Invalid {
    Invalid(why.into())
}

/// Largest amount of money in minor units (ten thousand million in a currency of two decimals). Far below `i64`, so
/// that a basket of [`MAX_QUANTITY`] of the dearest product on every line still adds up without overflow.
pub const MAX_AMOUNT_MINOR: i64 = 1_000_000_000_000;

/// Largest quantity on one line: more is a typing error or an attack in a shop of this kind.
pub const MAX_QUANTITY: u32 = 9_999;

/// Money: an integer number of the currency's minor units. There is no float on its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units: 7889 is 78.89 in a currency of two decimals.
    #[schema(example = 7889)]
    pub amount: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
}

impl Money {
    /// Nothing, in `currency`.
    pub fn zero(currency: Currency) -> Self {
        Money { amount: 0, currency }
    }

    /// Price × quantity. Fails with `amount_too_large` beyond what a total can hold, never wraps.
    pub fn times(self, quantity: Quantity) -> Result<Money> {
        let amount = self.amount.checked_mul(i64::from(quantity.get())).ok_or_else(amount_too_large)?;
        Ok(Money { amount, ..self })
    }

    /// The sum of two amounts of one currency. Fails with `amount_too_large` rather than wrap, and with
    /// `currency_mismatch` rather than add pears to apples.
    pub fn plus(self, other: Money) -> Result<Money> {
        if self.currency != other.currency {
            return Err(currency_mismatch(self.currency, other.currency));
        }
        let amount = self.amount.checked_add(other.amount).ok_or_else(amount_too_large)?;
        Ok(Money { amount, ..self })
    }

    /// Accepts this as a price: not negative, at most [`MAX_AMOUNT_MINOR`], in the shop's `currency`. `pointer` says where
    /// in the caller's body it stands.
    ///
    /// # Errors
    /// `invalid_request` with the part of it that cannot be accepted.
    pub fn as_price(self, currency: Currency, pointer: &str) -> Result<Money> {
        if self.currency != currency {
            return Err(Error::field(
                format!("{pointer}/currency"),
                format!("must be {}, this shop's currency", currency.code()),
            ));
        }
        if !(0..=MAX_AMOUNT_MINOR).contains(&self.amount) {
            return Err(Error::field(format!("{pointer}/amount"), format!("must be between 0 and {MAX_AMOUNT_MINOR}")));
        }
        Ok(self)
    }

    /// The amount in major units without trailing zeros: `78.89`, `950`, `950.4`.
    pub fn to_decimal(self) -> Decimal {
        let text = self.to_text();
        Decimal(match text.split_once('.') {
            Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            None => text,
        })
    }

    /// The amount in major units with all the decimals of its currency: `78.89`, `950.00`.
    fn to_text(self) -> String {
        let places = decimals(self.currency);
        let scale = 10_u64.pow(places as u32);
        let (whole, fraction) = (self.amount.unsigned_abs() / scale, self.amount.unsigned_abs() % scale);
        let sign = if self.amount < 0 { "-" } else { "" };
        if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction:0places$}") }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_text(), self.currency.code())
    }
}

fn decimals(currency: Currency) -> usize {
    usize::from(currency.exponent().unwrap_or(0))
}

fn amount_too_large() -> Error {
    Error::new(Kind::Unprocessable, "amount_too_large", "The total is larger than this shop can handle.")
}

fn currency_mismatch(ours: Currency, theirs: Currency) -> Error {
    let message = format!("Amounts in {} and {} cannot be added.", ours.code(), theirs.code());
    Error::new(Kind::Unprocessable, "currency_mismatch", message)
}

/// The exact text of a JSON number in major units, as the classic paths carry money: `78.89` stays `78.89`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal(String);

/// Exponents beyond this are refused: no price has them, and expanding them would cost memory.
const MAX_EXPONENT: u32 = 20;

impl Decimal {
    /// The decimal text of a number: optional sign, digits, optional fraction, optional exponent.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        split_decimal(text).map(|_| Decimal(text.to_owned()))
    }

    /// This amount of major units in the minor units of `currency`. Refuses more decimals than the currency has
    /// (trailing zeros do not count) and amounts beyond [`MAX_AMOUNT_MINOR`]; it never rounds.
    pub fn to_money(&self, currency: Currency) -> Result<Money, Invalid> {
        let (negative, digits, scale) = split_decimal(&self.0)?;
        let digits = digits.trim_start_matches('0');
        let significant = digits.trim_end_matches('0');
        let scale = scale - (digits.len() - significant.len()) as i32;
        let places = decimals(currency) as i32;
        if significant.is_empty() {
            return Ok(Money::zero(currency));
        }
        if scale > places {
            return Err(invalid(format!("must have at most {places} decimals in {}", currency.code())));
        }
        let too_large = || invalid(format!("must be at most {}", Money { amount: MAX_AMOUNT_MINOR, currency }));
        let base: i64 = significant.parse().map_err(|_| too_large())?;
        let factor = 10_i64.checked_pow((places - scale) as u32).ok_or_else(too_large)?;
        let amount = base.checked_mul(factor).filter(|amount| *amount <= MAX_AMOUNT_MINOR).ok_or_else(too_large)?;
        Ok(Money { amount: if negative { -amount } else { amount }, currency })
    }

    /// True of 0, 0.0, -0 and 0e5.
    pub fn is_zero(&self) -> bool {
        self.0.bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).all(|byte| !matches!(byte, b'1'..=b'9'))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Sign, all digits of the mantissa, and how many of them stand right of the decimal point (negative: zeros to add).
fn split_decimal(text: &str) -> Result<(bool, String, i32), Invalid> {
    let not_a_number = || invalid("must be a number");
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let exponent: i32 = exponent.parse().map_err(|_| not_a_number())?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || mantissa.ends_with('.') {
        return Err(not_a_number());
    }
    if exponent.unsigned_abs() > MAX_EXPONENT || mantissa.len() > 40 {
        return Err(invalid("must be a number of at most 40 digits"));
    }
    Ok((negative, format!("{whole}{fraction}"), fraction.len() as i32 - exponent))
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Decimal::parse(raw.get()).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = RawValue::from_string(self.0.clone()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl PartialSchema for Decimal {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(SchemaType::new(Type::Number)).description(Some("Major units, exact.")).into()
    }
}

impl ToSchema for Decimal {}

/// How many of something: at least 1, at most [`MAX_QUANTITY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "u32")]
pub struct Quantity(u32);

impl Quantity {
    /// The quantity, at least 1.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for Quantity {
    type Error = Invalid;
    fn try_from(value: i64) -> Result<Self, Invalid> {
        let in_range = u32::try_from(value).ok().filter(|value| (1..=MAX_QUANTITY).contains(value));
        in_range.map(Quantity).ok_or_else(|| invalid(format!("must be a whole number from 1 to {MAX_QUANTITY}")))
    }
}

impl From<Quantity> for u32 {
    fn from(quantity: Quantity) -> u32 {
        quantity.0
    }
}

impl PartialSchema for Quantity {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::Integer))
            .minimum(Some(1))
            .maximum(Some(f64::from(MAX_QUANTITY)))
            .into()
    }
}

impl ToSchema for Quantity {}

/// Text of a person or a product: `MIN` to `MAX` characters after trimming, no control characters but line breaks and
/// tabs. What it looks like as HTML is the page's affair: it is data, and stays as typed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const MIN: usize, const MAX: usize>(String);

impl<const MIN: usize, const MAX: usize> Text<MIN, MAX> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MIN: usize, const MAX: usize> TryFrom<String> for Text<MIN, MAX> {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        let trimmed = text.trim();
        let length = trimmed.chars().count();
        if length < MIN || length > MAX {
            return Err(invalid(match (length, MIN) {
                (0, _) => Cow::Borrowed("must not be empty"),
                (_, 0 | 1) => format!("must be at most {MAX} characters").into(),
                _ => format!("must be {MIN} to {MAX} characters").into(),
            }));
        }
        if trimmed.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(invalid("must not contain control characters"));
        }
        Ok(Text(if trimmed.len() == text.len() { text } else { trimmed.to_owned() }))
    }
}

impl<const MAX: usize> Default for Text<0, MAX> {
    fn default() -> Self {
        Text(String::new())
    }
}

impl<const MIN: usize, const MAX: usize> TryFrom<&str> for Text<MIN, MAX> {
    type Error = Invalid;
    fn try_from(text: &str) -> Result<Self, Invalid> {
        Self::try_from(text.to_owned())
    }
}

impl<const MIN: usize, const MAX: usize> From<Text<MIN, MAX>> for String {
    fn from(text: Text<MIN, MAX>) -> String {
        text.0
    }
}

impl<const MIN: usize, const MAX: usize> PartialSchema for Text<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .min_length(Some(MIN))
            .max_length(Some(MAX))
            .into()
    }
}

impl<const MIN: usize, const MAX: usize> ToSchema for Text<MIN, MAX> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("Text{MIN}To{MAX}"))
    }
}

/// A user name: 1 to 64 of the ASCII letters, digits and `. _ - @ +`, the first a letter or digit. Nothing outside
/// ASCII, so that no two names look alike without being alike; no `#` or `/`, which separate keys and paths. Upper and
/// lower case are one name: it is kept as typed and compared by [`Username::key`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String);

/// Longest user name.
pub const MAX_USERNAME: usize = 64;

impl Username {
    /// The name as typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it is compared and stored in keys: lower case.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl TryFrom<String> for Username {
    type Error = Invalid;
    fn try_from(name: String) -> Result<Self, Invalid> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte);
        let starts_well = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if name.len() > MAX_USERNAME || !starts_well || !name.bytes().all(allowed) {
            return Err(invalid(
                "must be 1 to 64 of the letters a-z, digits and . _ - @ +, and start with a letter or digit",
            ));
        }
        Ok(Username(name))
    }
}

impl TryFrom<&str> for Username {
    type Error = Invalid;
    fn try_from(name: &str) -> Result<Self, Invalid> {
        Self::try_from(name.to_owned())
    }
}

impl From<Username> for String {
    fn from(name: Username) -> String {
        name.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialSchema for Username {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .pattern(Some("^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$"))
            .into()
    }
}

impl ToSchema for Username {}

/// An e-mail address: one `@` with something on both sides, no white space or control characters, at most 254
/// characters (RFC 5321's limit for a path). Whether anyone reads it only a message can tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

impl Email {
    /// The address as typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Email {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        let both_sides = text
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
        if !both_sides || text.len() > 254 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(invalid("must be an e-mail address"));
        }
        Ok(Email(text))
    }
}

impl From<Email> for String {
    fn from(email: Email) -> String {
        email.0
    }
}

impl PartialSchema for Email {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .format(Some(SchemaFormat::Custom("email".into())))
            .max_length(Some(254))
            .into()
    }
}

impl ToSchema for Email {}

/// The id of a product: a UUID, version 7 when made here, so that ids sort by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProductId(pub Uuid);

impl fmt::Display for ProductId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl std::str::FromStr for ProductId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        Uuid::try_parse(text).map(ProductId).map_err(|_| invalid("must be a UUID"))
    }
}

impl PartialSchema for ProductId {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
            .into()
    }
}

impl ToSchema for ProductId {}

/// The id of an order: a KSUID, 27 characters that sort by time of ordering.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId(String);

/// Seconds between the Unix epoch and the KSUID epoch (2014-05-13T16:53:20Z, as published by its authors).
const KSUID_EPOCH_S: i64 = 1_400_000_000;
/// The greatest KSUID: 20 bytes of 255, in base 62.
const GREATEST_KSUID: &str = "aWgEPTl1tmebfsQzFP4bxwgy80V";

impl OrderId {
    /// The id of an order placed at `at`: seconds in the timestamp, the fraction of the second leading the payload so
    /// that orders of one second still sort by time, and 96 random bits.
    pub fn new(at: jiff::Timestamp, random: [u8; 12]) -> Self {
        let mut payload = [0_u8; 16];
        payload[..4].copy_from_slice(&at.subsec_nanosecond().max(0).to_be_bytes());
        payload[4..].copy_from_slice(&random);
        OrderId(Ksuid::new_raw(ksuid_seconds(at), Some(&payload)).to_string())
    }

    /// An id that sorts after every order placed up to and including the second of `at`.
    pub fn last_of_second(at: jiff::Timestamp) -> Self {
        OrderId(Ksuid::new_raw(ksuid_seconds(at), Some(&[0xff; 16])).to_string())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn ksuid_seconds(at: jiff::Timestamp) -> u32 {
    u32::try_from(at.as_second() - KSUID_EPOCH_S).unwrap_or(0)
}

impl TryFrom<String> for OrderId {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        // The digits of base 62 sort as their characters do, so texts of the same length sort as their numbers.
        let is_id = text.len() == GREATEST_KSUID.len() && text.bytes().all(|digit| digit.is_ascii_alphanumeric());
        if is_id && text.as_str() <= GREATEST_KSUID {
            Ok(OrderId(text))
        } else {
            Err(invalid("must be an order id (a KSUID of 27 characters)"))
        }
    }
}

impl std::str::FromStr for OrderId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        OrderId::try_from(text.to_owned())
    }
}

impl From<OrderId> for String {
    fn from(id: OrderId) -> String {
        id.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialSchema for OrderId {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).pattern(Some("^[0-9A-Za-z]{27}$")).into()
    }
}

impl ToSchema for OrderId {}

/// The last four digits of a payment card, the only part of it that is ever kept (PCI DSS allows no more without
/// protection). Text that is not a card number of 12 to 19 digits yields nothing, so that four digits sent alone are
/// not kept as if they were the tail of a longer number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CardLast4(String);

impl CardLast4 {
    /// The tail of a card number; spaces and dashes between its digits are allowed.
    pub fn of_card(number: &str) -> Option<Self> {
        let digits: String = number.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        let is_card = (12..=19).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_card.then(|| CardLast4(digits[digits.len() - 4..].to_owned()))
    }
}

impl TryFrom<String> for CardLast4 {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        let four_digits = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        if four_digits { Ok(CardLast4(text)) } else { Err(invalid("must be four digits")) }
    }
}

impl From<CardLast4> for String {
    fn from(card: CardLast4) -> String {
        card.0
    }
}

impl PartialSchema for CardLast4 {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).pattern(Some("^[0-9]{4}$")).into()
    }
}

impl ToSchema for CardLast4 {}

#[cfg(test)]
mod tests {
    use super::*;

    fn minor(text: &str) -> Result<i64, Invalid> {
        Decimal::parse(text)?.to_money(Currency::USD).map(|money| money.amount)
    }

    #[test]
    fn decimals_become_minor_units_exactly_or_are_refused() {
        for (text, expected) in [
            ("78.89", 7889),
            ("950", 95_000),
            ("950.40", 95_040),
            ("0", 0),
            ("0.000", 0),
            ("1e2", 10_000),
            ("9.5E1", 9_500),
            ("1250e-2", 1_250),
            ("-1.5", -150),
            ("10000000000", MAX_AMOUNT_MINOR),
        ] {
            assert_eq!(minor(text), Ok(expected), "{text}");
        }
        for text in
            ["0.001", "1.005", "10000000000.01", "1e20", "1e21", "", ".", "1.", ".5", "abc", "1e", "--1", "\"1\""]
        {
            assert!(minor(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_has_at_most_forty_digits_and_an_exponent_of_twenty() {
        let (forty, one_more) = ("1".repeat(40), "1".repeat(41));
        for text in [forty.as_str(), "1e20", "1e-20", "0e20"] {
            assert_eq!(Decimal::parse(text).unwrap().as_str(), text);
        }
        for text in [one_more.as_str(), "1e21", "1e-21", "0e21", "0e-2147483648"] {
            assert_eq!(Decimal::parse(text), Err(invalid("must be a number of at most 40 digits")), "{text}");
        }
    }

    #[test]
    fn a_currency_without_decimals_takes_none() {
        let yen = |text: &str| Decimal::parse(text).unwrap().to_money(Currency::JPY).map(|money| money.amount);
        assert_eq!(yen("1200"), Ok(1200));
        assert!(yen("1200.5").is_err());
        assert_eq!(Money { amount: 1200, currency: Currency::JPY }.to_decimal().as_str(), "1200");
        assert_eq!(Money { amount: 95_040, currency: Currency::USD }.to_decimal().as_str(), "950.4");
        assert_eq!(Money { amount: -95_000, currency: Currency::USD }.to_decimal().as_str(), "-950");
        assert_eq!(Money { amount: 59_950, currency: Currency::USD }.to_string(), "599.50 USD");
    }

    proptest::proptest! {
        #[test]
        fn money_survives_its_decimal_text(amount in 0..=MAX_AMOUNT_MINOR) {
            let money = Money { amount, currency: Currency::USD };
            proptest::prop_assert_eq!(money.to_decimal().to_money(Currency::USD), Ok(money));
        }

        #[test]
        fn order_ids_sort_by_time(a in 1_500_000_000_000_000_000_i64..1_900_000_000_000_000_000, step in 1_i64..5_000_000_000, random: [u8; 12]) {
            let at = |nanos: i64| jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap();
            let (first, second) = (OrderId::new(at(a), random), OrderId::new(at(a + step), [0; 12]));
            proptest::prop_assert!(first < second);
            proptest::prop_assert!(first <= OrderId::last_of_second(at(a)));
            proptest::prop_assert_eq!(first.as_str().parse::<OrderId>().unwrap(), first);
        }
    }

    /// The ids are examples of those who devised KSUIDs.
    #[test]
    fn an_order_id_tells_the_second_of_ordering_as_every_ksuid_tells_its_own() {
        for (id, at) in [
            ("0ujtsYcgvSTl8PAuAdqWYSMnLOv", "2017-10-10T04:00:47Z"),
            ("0ujzPyRiIAffKhBux4PvQdDqMHY", "2017-10-10T04:46:20Z"),
        ] {
            let at: jiff::Timestamp = at.parse().unwrap();
            let (first, last) = (OrderId::new(at, [0; 12]), OrderId::last_of_second(at));
            assert!(first.as_str() < id && id < last.as_str(), "{first} {id} {last}");
        }
    }

    #[test]
    fn what_is_no_order_id_is_refused() {
        let id = "0ujtsYcgvSTl8PAuAdqWYSMnLOv";
        assert!(id.parse::<OrderId>().is_ok());
        let beyond = ["z".repeat(27), format!("İ{}", "z".repeat(25))];
        for text in ["", &id[1..], &format!("{id}0"), &id.replace('t', "-"), &"!".repeat(27), &beyond[0], &beyond[1]] {
            assert!(text.parse::<OrderId>().is_err(), "{text}");
        }
    }

    /// Every id is read without decoding it, so the library says where ids end.
    #[test]
    fn the_greatest_order_id_is_the_greatest_ksuid() {
        assert_eq!(Ksuid::new_raw(u32::MAX, Some(&[0xff; 16])).to_string(), GREATEST_KSUID);
        assert!(GREATEST_KSUID.parse::<OrderId>().is_ok());
        assert!(GREATEST_KSUID.replace('V', "W").parse::<OrderId>().is_err());
        assert!("0".repeat(27).parse::<OrderId>().is_ok());
    }

    #[test]
    fn a_text_is_trimmed_and_one_that_will_not_do_is_told_what_would() {
        assert_eq!(Text::<1, 5>::try_from("  Ann \n").unwrap().as_str(), "Ann");
        assert_eq!(Text::<0, 5>::try_from(" \t ").unwrap(), Text::<0, 5>::default());
        for (refused, why) in [
            (Text::<1, 5>::try_from("  ").unwrap_err(), "must not be empty"),
            (Text::<2, 5>::try_from("").unwrap_err(), "must not be empty"),
            (Text::<0, 5>::try_from("sixsix").unwrap_err(), "must be at most 5 characters"),
            (Text::<1, 5>::try_from("sixsix").unwrap_err(), "must be at most 5 characters"),
            (Text::<2, 5>::try_from("sixsix").unwrap_err(), "must be 2 to 5 characters"),
            (Text::<2, 5>::try_from("x").unwrap_err(), "must be 2 to 5 characters"),
        ] {
            assert_eq!(refused.to_string(), why);
        }
    }

    #[test]
    fn the_longest_user_name_and_the_longest_address_are_taken_and_no_longer_ones() {
        let name = |length: usize| Username::try_from("a".repeat(length));
        let email = |length: usize| Email::try_from("a".repeat(length - "@example.com".len()) + "@example.com");
        assert!(name(64).is_ok() && name(65).is_err());
        assert!(email(254).is_ok() && email(255).is_err());
    }

    #[test]
    fn user_names_that_could_confuse_are_refused() {
        for name in ["", "a#b", "a/b", "-a", "a b", "аnn", "a\u{200b}b", "a\n", &"a".repeat(65)] {
            assert!(Username::try_from(name).is_err(), "{name:?}");
        }
        for name in ["swn", "test111", "Ann.O-Hara_3", "ann@example.com", "checkout"] {
            assert!(Username::try_from(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn only_the_tail_of_a_whole_card_number_is_kept() {
        assert_eq!(CardLast4::of_card("4111 1111-1111 1234"), Some(CardLast4("1234".into())));
        for text in ["1234", "", "not a card", "4111x11111111234", "41111111111111111111"] {
            assert_eq!(CardLast4::of_card(text), None, "{text}");
        }
    }
}
