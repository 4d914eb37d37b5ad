//! What the catalogue does when an order or its own stock changes.

use std::collections::BTreeMap;

use super::store::{self, Alert};
use super::{
    Demand, Hold, Movement, MovementKind, Offer, Reservation, ReservationState, Stock, StockChange, StockLevel,
    StockMoved, StockRejected, StockReserved, reserve,
};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::events::{Envelope, Event};
use crate::ordering::OrderFact;
use crate::store::{Adjustment, Batch, Change, Expect, Once, Table, transact};
use crate::values::ProductId;

/// An order was placed: reserve every line, or none and say which cannot be.
///
/// # Errors
/// Those of the store; all of them are worth another try.
pub async fn on_order_placed(app: &App, _message: &Envelope, order: OrderFact) -> Result<()> {
    let demands: Vec<Demand> = order.lines.iter().map(|line| line.demand()).collect();
    transact(app, &Once::unkeyed(), Table::Catalog, || async {
        let mut batch = Batch::new(Table::Catalog);
        if store::find_reservation(&*app.store, &order.order_id).await?.is_some() {
            return Ok(Change { batch, result: () });
        }
        let (order_id, customer) = (order.order_id.clone(), order.customer.clone());
        let reservation = match reserve(&demands, &offers(app, &demands).await?) {
            Ok(holds) => {
                take(&mut batch, &holds, "available");
                batch.emit(app.envelope(&Event::StockReserved(StockReserved { order_id, customer })));
                emit_moved(app, &mut batch, &order, MovementKind::Reserved, &holds);
                Reservation { state: ReservationState::Reserved, holds }
            }
            Err(rejections) => {
                batch.emit(app.envelope(&Event::StockRejected(StockRejected { order_id, customer, rejections })));
                Reservation { state: ReservationState::Rejected, holds: Vec::new() }
            }
        };
        batch.put(store::reservation_key(&order.order_id), Expect::Absent, &reservation)?;
        Ok(Change { batch, result: () })
    })
    .await
}

/// An order was called off: give back what it holds, once. If it holds nothing yet, remember that it must not.
///
/// # Errors
/// Those of the store; all of them are worth another try.
pub async fn on_order_cancelled(app: &App, _message: &Envelope, order: OrderFact) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Catalog, || async {
        let mut batch = Batch::new(Table::Catalog);
        let (holds, expect) = match store::find_reservation(&*app.store, &order.order_id).await? {
            None => (Vec::new(), Expect::Absent),
            Some((reservation, version)) => match reservation.state {
                ReservationState::Reserved => (reservation.holds.clone(), Expect::Version(version)),
                ReservationState::Rejected | ReservationState::Released | ReservationState::Shipped => {
                    return Ok(Change { batch, result: () });
                }
            },
        };
        let tracked = still_tracked(app, &holds).await?;
        for hold in &tracked {
            let by = i64::from(hold.quantity);
            batch
                .adjust(store::stock_key(hold.product_id), vec![Adjustment { field: "available", by, at_least: None }]);
        }
        emit_moved(app, &mut batch, &order, MovementKind::Released, &tracked);
        let released = Reservation { state: ReservationState::Released, holds };
        batch.put(store::reservation_key(&order.order_id), expect, &released)?;
        Ok(Change { batch, result: () })
    })
    .await
}

/// An order left the house: what it held is no longer on hand.
///
/// # Errors
/// `reservation_not_found` while the reservation is not there yet: worth another try, as are those of the store.
pub async fn on_order_shipped(app: &App, _message: &Envelope, order: OrderFact) -> Result<()> {
    transact(app, &Once::unkeyed(), Table::Catalog, || async {
        let mut batch = Batch::new(Table::Catalog);
        let Some((reservation, version)) = store::find_reservation(&*app.store, &order.order_id).await? else {
            return Err(Error::new(Kind::NotFound, "reservation_not_found", "The order has no reservation yet."));
        };
        match reservation.state {
            ReservationState::Reserved => {}
            ReservationState::Rejected | ReservationState::Released | ReservationState::Shipped => {
                return Ok(Change { batch, result: () });
            }
        }
        let tracked = still_tracked(app, &reservation.holds).await?;
        take(&mut batch, &tracked, "onHand");
        emit_moved(app, &mut batch, &order, MovementKind::Shipped, &tracked);
        let shipped = Reservation { state: ReservationState::Shipped, holds: reservation.holds.clone() };
        batch.put(store::reservation_key(&order.order_id), Expect::Version(version), &shipped)?;
        Ok(Change { batch, result: () })
    })
    .await
}

/// Stock moved: book each product's ledger line, and announce a product that ran out or came back.
///
/// The announcement follows the level, not the event: it compares what is available now with what was last announced, so
/// late and repeated events do no harm.
///
/// # Errors
/// Those of the store; all of them are worth another try.
pub async fn on_stock_moved(app: &App, message: &Envelope, moved: StockMoved) -> Result<()> {
    for change in &moved.changes {
        let id = change.product_id;
        let movement = Movement {
            id: message.id,
            kind: moved.kind,
            on_hand: change.on_hand,
            available: change.available,
            order_id: moved.order_id.clone(),
            note: moved.note.clone(),
            at: message.time,
        };
        let keys = [store::movement_key(id, message.id), store::stock_key(id), store::alert_key(id)];
        transact(app, &Once::unkeyed(), Table::Catalog, || async {
            let docs = app.store.get_many(&keys).await?;
            let mut batch = Batch::new(Table::Catalog);
            if docs[0].is_none() {
                batch.put(keys[0].clone(), Expect::Absent, &movement)?;
            }
            if let Some(stock_doc) = &docs[1] {
                let available = stock_doc.parse::<Stock>()?.available;
                let announced = docs[2].as_ref().map(|doc| doc.parse::<Alert>()).transpose()?;
                let depleted = available <= 0;
                if announced.is_some_and(|alert| alert.depleted) != depleted {
                    let expect = docs[2].as_ref().map_or(Expect::Absent, |doc| Expect::Version(doc.version));
                    let found = store::find_products(&*app.store, &[id]).await?.pop().flatten();
                    let product_name = found.map(|found| found.product.name.clone());
                    let level = StockLevel { product_id: id, product_name, available };
                    batch.check(keys[1].clone(), Expect::Version(stock_doc.version));
                    batch.put(keys[2].clone(), expect, &Alert { depleted })?;
                    batch.emit(app.envelope(&if depleted {
                        Event::StockDepleted(level)
                    } else {
                        Event::StockReplenished(level)
                    }));
                }
            }
            Ok(Change { batch, result: () })
        })
        .await?;
    }
    Ok(())
}

/// What the catalogue knows of the products that are asked for.
async fn offers(app: &App, demands: &[Demand]) -> Result<BTreeMap<ProductId, Offer>> {
    let mut ids: Vec<ProductId> = demands.iter().map(|demand| demand.product_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let found = store::find_products(&*app.store, &ids).await?;
    let offer = |found: store::Found| Offer { product: found.product, stock: found.stock.map(|(stock, _)| stock) };
    Ok(ids.into_iter().zip(found).filter_map(|(id, found)| Some((id, offer(found?)))).collect())
}

/// Those of `holds` whose product still has the stock they were taken from: it may have left the catalogue since, and
/// another one may have come in its place.
async fn still_tracked(app: &App, holds: &[Hold]) -> Result<Vec<Hold>> {
    if holds.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<ProductId> = holds.iter().map(|hold| hold.product_id).collect();
    let found = store::find_products(&*app.store, &ids).await?;
    let is_same = |hold: &Hold, found: &Option<store::Found>| {
        found.as_ref().is_some_and(|found| found.stock.is_some() && found.product.created_at == hold.product_created_at)
    };
    Ok(holds.iter().zip(&found).filter(|(hold, found)| is_same(hold, found)).map(|(hold, _)| *hold).collect())
}

fn take(batch: &mut Batch, holds: &[Hold], field: &'static str) {
    for hold in holds {
        let by = -i64::from(hold.quantity);
        batch.adjust(store::stock_key(hold.product_id), vec![Adjustment { field, by, at_least: Some(0) }]);
    }
}

fn emit_moved(app: &App, batch: &mut Batch, order: &OrderFact, kind: MovementKind, holds: &[Hold]) {
    if holds.is_empty() {
        return;
    }
    let change = |hold: &Hold| {
        let quantity = i64::from(hold.quantity);
        let (on_hand, available) = match kind {
            MovementKind::Reserved => (0, -quantity),
            MovementKind::Released => (0, quantity),
            MovementKind::Shipped => (-quantity, 0),
            MovementKind::Received | MovementKind::WrittenOff | MovementKind::Counted | MovementKind::Removed => {
                unreachable!("made by hand, booked with their commit")
            }
        };
        StockChange { product_id: hold.product_id, on_hand, available }
    };
    let changes = holds.iter().map(change).collect();
    let moved = StockMoved { kind, order_id: Some(order.order_id.clone()), note: None, changes };
    batch.emit(app.envelope(&Event::StockMoved(moved)));
}
