// Compiled, never run: what the types promise, held against openapi.yaml from which they come.
import { FreshK, FreshKError, type Code, type Delivery, type Login, type ServerCode, type Session, type Storage } from "../src/index.js";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <T extends true>(held?: T): T | undefined => held;

export async function types(storage: Storage, browser: typeof localStorage, locks: LockManager): Promise<void> {
  const freshk = new FreshK({ url: "https://auth.example.com/api/mobile/auth", storage: browser, locks });
  new FreshK({ url: "https://auth.example.com/api/mobile/auth", storage, origins: ["https://api.example.com"] });

  const login: Login = await freshk.verify("+12025550123", "123456");
  holds<Same<typeof login.user.id, number>>();
  holds<Same<typeof login.user.phone_verified, boolean>>();
  const sent = await freshk.requestCode("+12025550123");
  holds<Same<typeof sent.is_new_user, boolean>>();
  holds<Same<typeof sent.expires_in, number>>();
  holds<Same<typeof sent.deliveryId, string | undefined>>();
  await freshk.requestCode("+12025550123", "voice");
  // @ts-expect-error: text messages need no asking for
  await freshk.requestCode("+12025550123", "sms");
  const { state, channel, retry_after }: Delivery = await freshk.delivery("id");
  holds<Same<typeof state | typeof channel, string>>();
  holds<Same<typeof retry_after, number | undefined>>();
  const { account } = freshk;
  holds<Same<Awaited<ReturnType<typeof account.changePhone>>["expires_in"], number>>();
  holds<Same<Awaited<ReturnType<typeof account.verifyPhone>>["effective_at"], string | null>>();
  holds<Same<Awaited<ReturnType<typeof account.delete>>["deletes_at"], string | undefined>>();
  holds<Same<Awaited<ReturnType<typeof account.export>>["complete"], boolean>>();
  const { account_active, user } = await freshk.status();
  holds<Same<typeof account_active, boolean>>();
  holds<Same<typeof user.role, string>>();
  const sessions: Session[] = await freshk.sessions();
  holds<Same<(typeof sessions)[number]["current"], boolean>>();

  // Each code is the server's, and one that is not known yet is a string.
  const codes: ServerCode[] = [
    "invalid_phone_number", "invalid_otp", "bad_request", "not_authenticated", "token_invalid", "token_expired", "token_reused", "account_disabled",
    "country_not_allowed", "user_not_found", "not_found", "phone_in_use", "rate_limited", "sms_budget_exhausted", "sms_delivery_failed",
    "internal_error", "overloaded", "unavailable",
  ];
  // @ts-expect-error: a word that is not the server's
  codes.push("no_such_code");
  const code: Code = new FreshKError("no_answer", "").code;
  if (code === "rate_limited" || code === "something_new") return;
}
