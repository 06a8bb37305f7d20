//! Doing an act at a server.

use std::collections::BTreeMap;

use super::super::*;
use super::acts::{Act, Call, Deed, Outcome, Pair, Token};
use super::node::Node;
use crate::auth::{AuthError, CancelRequest, PhoneCodes, PhoneProof, RefreshedTokens};
use crate::domain::{DeviceId, Timestamp};
use crate::tokens::{TokenKind, TokenPair, Verified};

/// What the people of a schedule are known by.
pub(super) struct People {
    /// Their numbers and addresses are those of no other schedule.
    pub(super) place: u64,
    /// The tokens of their devices.
    pub(super) devices: BTreeMap<DeviceId, Secret>,
}

impl People {
    pub(super) fn phone(&self, number: usize) -> PhoneNumber {
        phone(u32::try_from(self.place).unwrap() * 10 + u32::try_from(number).unwrap())
    }

    /// Two of one network, and one elsewhere.
    fn origin(&self, address: usize) -> Origin {
        let (network, host) = [(0, 1), (0, 2), (1, 1)][address];
        origin(&format!("10.{}.{network}.{host}", self.place))
    }

    fn token(&self, device: Option<&DeviceId>) -> Option<Secret> {
        self.devices.get(device?).cloned()
    }

    /// Does an act, and keeps the tokens of devices that come of it.
    pub(super) async fn act(&self, node: &Node, call: &Call) -> (Outcome, Option<Secret>) {
        match self.try_act(node, call).await {
            Ok(done) => done,
            Err(error) => (Outcome::Refused(error), None),
        }
    }

    async fn try_act(&self, node: &Node, call: &Call) -> Result<(Outcome, Option<Secret>), AuthError> {
        let (auth, origin, languages) = (&node.auth, self.origin(call.address), Languages::default());
        let done = match &call.act {
            Act::Request { number, device, .. } => {
                let sent = auth.request(self.code_request(*number, device.as_ref(), call)).await.result?;
                Outcome::Sent { is_new: sent.is_new_user }
            }
            Act::Resend { access, device, .. } => {
                let bearer = auth.authenticate(&access.text).await?;
                let sent =
                    auth.resend(&bearer, self.token(device.as_ref()), languages, origin).await.result?;
                Outcome::Sent { is_new: sent.is_new_user }
            }
            Act::Verify { number, digits, device, key } => {
                let request = VerifyRequest {
                    phone: self.phone(*number),
                    idempotency_key: Some(Secret::new(format!("{key:016}"))),
                    device_token: self.token(device.as_ref()),
                    origin,
                    ..verify_request(0, &code(digits))
                };
                let login = auth.verify(request).await.result?;
                let device = login.device_token.as_ref().map(|token| device_of(node, token));
                let outcome = Outcome::LoggedIn {
                    user: login.user.id,
                    pair: pair(node, &login.tokens),
                    is_new: login.is_new_user,
                    is_restored: login.is_restored,
                    device,
                };
                return Ok((outcome, login.device_token));
            }
            Act::Refresh { token } => {
                let RefreshedTokens { pair: tokens, device_token } =
                    auth.refresh(&token.text, "Pixel".to_owned(), origin).await?;
                let device = device_token.as_ref().map(|token| device_of(node, token));
                return Ok((Outcome::Refreshed { pair: pair(node, &tokens), device }, device_token));
            }
            Act::Status { access } => {
                let user = auth.authenticate(&access.text).await?.user;
                Outcome::Known { user: user.id, is_active: user.is_active, role: user.role.clone() }
            }
            Act::LogOut { token } => auth.log_out(&token.text, origin).await.map(|()| Outcome::Done)?,
            Act::LogOutEverywhere { access, device } => {
                let bearer = auth.authenticate(&access.text).await?;
                auth.log_out_everywhere(&bearer, self.token(device.as_ref()), origin).await?;
                Outcome::Done
            }
            Act::EndSession { access, session } => {
                let bearer = auth.authenticate(&access.text).await?;
                auth.end_session(&bearer, session.as_str(), origin).await.map(|()| Outcome::Done)?
            }
            Act::AskChange { access, number, .. } => {
                let bearer = auth.authenticate(&access.text).await?;
                let sent =
                    auth.ask_phone_change(&bearer, self.phone(*number), languages, origin).await.result?;
                Outcome::Sent { is_new: sent.is_new_user }
            }
            Act::Prove { access, number, new, current } => {
                let bearer = auth.authenticate(&access.text).await?;
                let codes = PhoneCodes { new: code(new), current: current.as_deref().map(code) };
                let phone = self.phone(*number);
                let proof = PhoneProof { phone, codes: Some(codes), device_token: None, origin };
                let proven = auth.change_phone(bearer, proof).await.result?;
                proven.effective_at.map_or(Outcome::Changed, Outcome::Waits)
            }
            Act::CancelByCode { number, digits } => {
                let request = CancelRequest { phone: self.phone(*number), code: Some(code(digits)), origin };
                auth.cancel_phone_change(request).await.result.map(|()| Outcome::Done)?
            }
            Act::KeepPhone { access } => {
                let bearer = auth.authenticate(&access.text).await?;
                auth.keep_phone(&bearer, origin).await.map(|()| Outcome::Done)?
            }
            Act::Delete { access, digits, device } => {
                let bearer = auth.authenticate(&access.text).await?;
                let token = self.token(device.as_ref());
                auth.delete_account(&bearer, Some(code(digits)), token, origin)
                    .await
                    .result
                    .map(Outcome::Deleted)?
            }
            Act::Operate { number, deed } => {
                self.operate(node, *number, *deed).await;
                Outcome::Done
            }
            Act::Maintain => auth.maintain().await.map(|()| Outcome::Done)?,
        };
        Ok((done, None))
    }

    pub(super) fn code_request(&self, number: usize, device: Option<&DeviceId>, call: &Call) -> CodeRequest {
        CodeRequest {
            phone: self.phone(number),
            device_token: self.token(device),
            origin: self.origin(call.address),
            ..code_request(0)
        }
    }

    async fn operate(&self, node: &Node, number: usize, deed: Deed) {
        let phone = self.phone(number);
        let found = node.store.read(move |view| view.user_by_phone(&phone)).await.unwrap();
        let Some(User { id, phone: Some(phone), .. }) = found else { return };
        let to = if let Deed::SetPhone(to) = deed { self.phone(to) } else { phone.clone() };
        let locks = Locks::none().phones([&phone, &to]).user(id);
        let act = move |operator: &mut Operator<'_, '_>| {
            // It was read without a lock.
            let user = operator.view().user(id)?.filter(|user| user.phone.as_ref() == Some(&phone));
            let Some(user) = user else { return Ok(()) };
            match deed {
                Deed::Activate => operator.activate(&user).map(drop),
                Deed::Deactivate => operator.deactivate(&user).map(drop),
                Deed::SetRole => {
                    let role = if user.role == "staff" { "retailer" } else { "staff" };
                    operator.set_role(&user, role).map(drop)
                }
                Deed::LogOut => operator.log_out(&user).map(drop),
                Deed::Restore => operator.restore(&user).map(drop),
                Deed::Delete => operator.delete(&user).map(drop),
                Deed::SetPhone(_) => operator.set_phone(&user, &to).map(drop),
                Deed::ResetLimits => {
                    operator.reset_limits(&[phone.as_str().to_owned()], Some(&phone)).map(drop)
                }
            }
        };
        operator::act(&node.store, locks, node.clock.now(), node.means.clone(), act).await.unwrap();
    }
}

fn code(digits: &str) -> Code {
    Code::parse(digits, 6).unwrap()
}

fn device_of(node: &Node, token: &Secret) -> DeviceId {
    node.auth.settings().devices.read(token, node.clock.wall()).unwrap().device
}

fn pair(node: &Node, tokens: &TokenPair) -> Pair {
    let read = |text: &String, kind| {
        let wall = node.clock.wall();
        let Ok(Verified::Own(claims)) = node.auth.settings().tokens.verify(text, kind, wall) else {
            panic!("a token that was just given is not good");
        };
        let payload = text.split('.').nth(1).unwrap();
        let payload = data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap();
        let mut payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        payload.as_object_mut().unwrap().remove("role");
        Token {
            text: text.clone(),
            claims: payload.to_string(),
            session: claims.session,
            generation: claims.generation,
            expires_at: Timestamp::from_millis(payload["exp"].as_i64().unwrap() * 1000),
        }
    };
    Pair {
        access: read(&tokens.access, TokenKind::Access),
        refresh: read(&tokens.refresh, TokenKind::Refresh),
    }
}
