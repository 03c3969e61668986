"""Which use case answers which request."""

from __future__ import annotations

from voxbus.auth.accounts import Accounts
from voxbus.auth.api_keys import ApiKeys
from voxbus.auth.failures import nobody
from voxbus.auth.signing_keys import SigningKeys
from voxbus.auth.tokens import TokenIssuer
from voxbus.auth.users import Users
from voxbus.contracts import auth
from voxbus.runtime.rpc import RpcServer


def answer_requests(
    rpc: RpcServer, accounts: Accounts, users: Users, api_keys: ApiKeys, keys: SigningKeys, tokens: TokenIssuer
) -> None:
    """Answer every operation of `voxbus.contracts.auth`."""

    async def issue_call_token(request: auth.IssueCallToken) -> auth.CallToken:
        if request.actor is None:
            raise nobody()
        return tokens.call_token(request.actor, request.agent_id, request.ttl_s)

    rpc.answer(auth.SIGN_UP, accounts.sign_up)
    rpc.answer(auth.LOG_IN, accounts.log_in)
    rpc.answer(auth.REFRESH, accounts.refresh)
    rpc.answer(auth.LOG_OUT, accounts.log_out)
    rpc.answer(auth.CHANGE_PASSWORD, accounts.change_password)
    rpc.answer(auth.GET_USER, users.get)
    rpc.answer(auth.LIST_USERS, users.list)
    rpc.answer(auth.CREATE_USER, users.create)
    rpc.answer(auth.UPDATE_USER, users.update)
    rpc.answer(auth.DELETE_USER, users.delete)
    rpc.answer(auth.CREATE_API_KEY, api_keys.create)
    rpc.answer(auth.LIST_API_KEYS, api_keys.list)
    rpc.answer(auth.REVOKE_API_KEY, api_keys.revoke)
    rpc.answer(auth.VERIFY_API_KEY, api_keys.verify)
    rpc.answer(auth.ISSUE_CALL_TOKEN, issue_call_token)
    rpc.answer(auth.GET_JWKS, keys.jwks)
    rpc.answer(auth.ROTATE_KEYS, keys.rotate)
