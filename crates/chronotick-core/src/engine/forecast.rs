//! What the members of the fusion are asked and tell, and what becomes of it in the answer.

use super::Engine;
use crate::fusion::{BankAnswer, Correction, Fusion};
use crate::{
    Basis, Conditions, Expected, Forecast, Implausible, Member, MemberStatus, Outlook, Prospect, RawInstant,
    Span, State,
};

impl Engine {
    /// What a forecast is to be made from, and is measured against: the engine's own line through the newest trusted
    /// measurement, and what the bank foresees at these ages, in ascending order. `None` before the first.
    pub fn outlook(&mut self, ages: impl IntoIterator<Item = Span>) -> Option<Outlook> {
        let at = self.last_trusted?;
        let origin = self.estimator.estimator.estimate(at)?;
        let mut outlook = Outlook { at, utc: origin.utc, rate: origin.rate, bank: Vec::new() };
        for age in ages {
            let then = self.estimator.estimator.estimate(at + age)?;
            outlook.bank.push((age, then.utc - outlook.line(age)));
        }
        Some(outlook)
    }

    /// What a model may see to forecast `horizon` steps from `context` of them. `None` before the first trusted
    /// measurement.
    ///
    /// # Panics
    /// If `step` is not positive.
    pub fn prospect(&mut self, step: Span, context: usize, horizon: usize) -> Option<Prospect> {
        let ages = (1..=horizon).map(|i| step.times(i as i64));
        let outlook = self.outlook(ages.clone())?;
        let (line, parts) = (outlook.rate.as_f64(), 1e9);
        let series = self.past.series(step, context, outlook.at);
        let stated = |age| self.estimator.estimator.estimate(outlook.at + age);
        let bank_sigmas = ages.map(|age| stated(age).map_or(f64::NAN, |e| e.variance.0[0].sqrt())).collect();
        Some(Prospect {
            rates: series.rates.iter().map(|rate| (rate - line) * parts).collect(),
            rate_sigmas: series.sigmas.iter().map(|sigma| sigma * parts).collect(),
            bank_sigmas,
            outlook,
        })
    }

    /// Takes in what a member forecasts. It has a share in the [`solution`](Engine::solution) as far as earlier
    /// forecasts of that member were better than the bank's, by measurements that came after them; the bound is made
    /// without it.
    ///
    /// # Errors
    /// If it is no forecast of this clock; then it is as if it had not been made.
    pub fn foresee(&mut self, forecast: &Forecast) -> Result<(), Implausible> {
        if self.last_trusted.is_none_or(|newest| forecast.outlook.at > newest) {
            return Err(Implausible::Origin);
        }
        let estimator = &self.estimator.estimator;
        let bank = |age| estimator.uncertainty(forecast.outlook.at + age);
        self.fusion.foresee(forecast, self.settings.frequency_tolerance, bank)
    }

    /// Believes so much of a member's forecasts until measurements that come after them say otherwise.
    pub fn expect(&mut self, member: Member, expected: &[Expected]) {
        self.fusion.expect(member, expected);
    }

    /// Takes in the machine's conditions; the frequency is regressed on them, as one more
    /// [`Member`](crate::Member).
    pub fn sense(&mut self, conditions: &Conditions) {
        self.fusion.sense(conditions);
    }

    /// What the answer at `now` is made of.
    pub fn basis(&mut self, now: RawInstant) -> Basis {
        if self.last_trusted.is_none() {
            return Basis::System;
        }
        let by_members = self.correction(now).basis();
        by_members.unwrap_or(match self.state.0 {
            State::Holdover => Basis::Holdover,
            _ if self.estimator.estimator.saved().is_none() => Basis::Ntp,
            _ => Basis::Bank,
        })
    }

    /// How every member stands that forecasts beside the bank.
    pub fn members(&mut self, now: RawInstant) -> Vec<MemberStatus> {
        let bank = self.bank(now);
        let correction = self.corrected(now, bank.as_ref());
        self.fusion.members(&correction, bank.as_ref())
    }

    pub(super) fn correction(&mut self, now: RawInstant) -> Correction {
        let bank = self.bank(now);
        self.corrected(now, bank.as_ref())
    }

    pub(super) fn corrected(&self, now: RawInstant, bank: Option<&BankAnswer>) -> Correction {
        match (self.last_trusted, bank) {
            (Some(newest), Some(bank)) => self.fusion.correction(now, newest, bank),
            _ => Correction::NONE,
        }
    }

    pub(super) fn bank(&mut self, now: RawInstant) -> Option<BankAnswer> {
        let estimate = self.estimator.estimate(now)?;
        let steady = self.estimator.estimator.steady();
        let sigma = estimate.variance.0[0].sqrt();
        Some(BankAnswer { utc: estimate.utc, rate: estimate.rate, sigma, steady })
    }

    /// Tells the fusion where the engine stands, as often as it needs that.
    pub(super) fn look_out(&mut self, now: RawInstant) {
        if self.fusion.wants_outlook(now)
            && let Some(outlook) = self.outlook(Fusion::horizons())
        {
            self.fusion.look_out(outlook);
        }
        if self.fusion.wants_lines()
            && let Some(line) = self.outlook([])
        {
            self.fusion.measured(line);
        }
    }
}
