"""What every refusal says to people: in English and Chinese, and whether the same request may succeed later.

Law: a text says what to do. FORM and SESSION are the gateway's own, REACH is what it could not reach or find,
BOOKS is settlement's register of members, goods and money, ENGINE has the reasons of the core.
"""

from typing import Final, NamedTuple

from engine.vocabulary import Reason


class Text(NamedTuple):
    """What a code means and what to do, in two languages, whether the same request may succeed later, and how
    FIX says it (fix_codes.py)."""

    english: str
    chinese: str
    retry: bool = False
    fix: str = ""


FORM: Final = {
    "malformed_json": Text(
        "the frame is not one JSON object; send one object per text frame",
        "帧内容不是一个JSON对象,请每帧发送一个对象",
    ),
    "not_text": Text("this subprotocol takes text frames only", "此子协议只接受文本帧"),
    "frame_too_large": Text(
        "the frame exceeds the maximum; send smaller messages", "帧超过最大长度,请发送较小的消息"
    ),
    "unknown_op": Text("no such op; see PROTOCOL.md for the list", "未知操作,操作列表见PROTOCOL.md"),
    "unknown_field": Text(
        "the message has a field that its op does not know; remove it", "消息含有未知字段,请删除"
    ),
    "missing_field": Text("a required field is missing; add it", "缺少必填字段,请补充"),
    "wrong_type": Text("the field has another JSON type than the protocol says", "字段类型错误"),
    "invalid_value": Text("the field's value is not one of those permitted", "字段值不在允许范围内"),
    "invalid_decimal": Text(
        'not a decimal string: prices like "2260.00" in CNY/t, quantities like "29.880" in tonnes',
        '不是十进制字符串:价格如"2260.00"(元/吨),数量如"29.880"(吨)',
    ),
    "invalid_id": Text(
        "not an id: ids are decimal strings below 2**63", "编号无效:编号为小于2的63次方的十进制字符串"
    ),
    "invalid_client_order_id": Text(
        "a client order id is 1-16 printable ASCII characters", "客户订单号须为1至16个可打印ASCII字符"
    ),
    "order_not_named": Text(
        "name the order by order_id or by client_order_id, exactly one",
        "请用order_id或client_order_id之一指明订单",
    ),
    "invalid_time": Text(
        'not an RFC 3339 time with its offset: "2015-07-08T15:00:00+08:00"',
        '不是带时区的RFC 3339时间:例如"2015-07-08T15:00:00+08:00"',
    ),
    "price_not_for_type": Text(
        "market, stop and market_to_limit orders name no price; remove it",
        "市价、止损及市价转限价订单不填价格,请删除",
    ),
    "quantity_twice": Text(
        "give the new total as quantity or what is to be left as leaves, not both",
        "新总量quantity与剩余量leaves只能填写一个",
    ),
    "quantity_or_lot": Text(
        "give the quantity to take of a sell, or the lot that goes to a bid, exactly one",
        "摘取卖方挂牌请填quantity,摘取求购请填lot,二者只填其一",
    ),
    "nothing_to_replace": Text(
        "name a new price, stop_price, quantity or leaves", "请至少填写新的价格、止损价或数量之一"
    ),
    "timer_not_named": Text(
        "give timeout_ms (0 stops the timer) or expire_at, exactly one", "请在timeout_ms与expire_at中填写其一"
    ),
}
SESSION: Final = {
    "logon_required": Text("log on first", "请先登录"),
    "logon_timeout": Text("no logon within the time allowed; connect again", "登录超时,请重新连接", True),
    "too_much_before_logon": Text(
        "too many bytes before logon; connect again and log on first", "登录前发送数据过多,请重新连接并先登录"
    ),
    "already_logged_on": Text("this session is logged on already", "本会话已登录"),
    "unknown_key": Text(
        "no member has this public key; ask the operator to add it", "没有会员拥有此公钥,请联系运营方添加"
    ),
    "wrong_signature": Text(
        "the signature does not fit; sign this connection's nonce (python -m gateway sign KEY NONCE)",
        "签名不符,请对本连接随机数的规范文本签名",
    ),
    "stale_timestamp": Text(
        "the timestamp is more than 30 s from the server's; set the clock",
        "时间戳与服务器相差超过30秒,请校准时钟",
    ),
    "scope_missing": Text(
        "this key lacks the scope for the op; ask the operator for it", "此密钥没有该操作的权限,请联系运营方"
    ),
    "taken_over": Text(
        "another logon of this key has taken the session over; nothing was canceled",
        "同一密钥的另一次登录已接管本会话,订单未撤销",
    ),
    "too_many_in_flight": Text(
        "too many unanswered requests; wait for answers", "未应答请求过多,请等待应答", True
    ),
    "too_many_connections": Text(
        "the gateway serves its maximum of connections; try later", "网关连接数已满,请稍后重试", True
    ),
    "slow_consumer": Text(
        "private data was not read fast enough; reconnect and resume from your last account_sequence",
        "私有数据读取过慢,请重新连接并从最后的account_sequence恢复",
        True,
    ),
}
REACH: Final = {
    "engine_unavailable": Text(
        "the engine is not reachable; try again shortly", "撮合引擎暂不可用,请稍后重试", True
    ),
    "settlement_unavailable": Text(
        "settlement is not reachable; try again shortly, trading goes on",
        "清算系统暂不可用,请稍后重试,交易不受影响",
        True,
    ),
    "directory_unavailable": Text(
        "this gateway's copy of members and keys is missing or old; try again when settlement is up",
        "会员目录尚未就绪或已过期,请在清算系统恢复后重试",
        True,
    ),
    "resume_ahead": Text(
        "the account has not reached that account_sequence; start without resume_from",
        "账户尚未到达该account_sequence,请不带resume_from订阅",
    ),
    "resume_too_old": Text(
        "what came behind that account_sequence is no longer kept; join without resume_from, ask for what is",
        "该account_sequence之后的事件已不再保留,请不带resume_from订阅并重新查询",
    ),
    "after_ended": Text(
        "the listing named by `after` has ended; begin again without it", "after所指的挂牌已结束,请从头查询"
    ),
    "unknown_contract": Text("no contract of yours has this id", "没有此编号的合同"),
    "bust_proposed": Text(
        "the bust is proposed or confirmed already; confirm or reject that", "该撤销已提出或确认,请确认或驳回"
    ),
    "bust_not_proposed": Text("no proposal waits for this contract", "此合同没有待确认的撤销"),
    "same_person": Text(
        "another operator than the proposer must confirm", "须由提出人以外的另一位运营人员确认"
    ),
    "already_busted": Text("the trade was reversed already", "该成交已撤销"),
    "contract_settled": Text(
        "goods were released on the contract: it cannot be reversed", "合同已放货,不能撤销"
    ),
    "internal_error": Text(
        "a fault in the gateway; it was logged, tell the operator", "网关内部错误,已记录,请联系运营方"
    ),
}
BOOKS: Final = {
    "unknown_member": Text("no member has this number", "没有此编号的会员"),
    "member_exists": Text("the code belongs to a member with other content", "该代码已属于另一会员"),
    "key_exists": Text("a key belongs to one member only, and once", "公钥只能属于一个会员且只能登记一次"),
    "reference_used": Text(
        "the bank reference was used for another payment; choose another", "银行流水号已用于另一笔款项,请更换"
    ),
    "receipt_registered": Text("the receipt is registered with other content", "该仓单已登记,且内容不同"),
    "piece_registered": Text("the heat and piece are registered already", "该炉号及件号的货物已登记"),
    "unknown_warehouse": Text("no such warehouse", "没有此仓库"),
    "quantity_inconsistent": Text(
        "the quantity is not units x the weight of one unit", "数量与件数乘单件重量不符"
    ),
}
ENGINE: Final = {
    Reason.UNSUPPORTED_COMMAND: Text("the engine does not know this command", "引擎不支持此命令"),
    Reason.UNKNOWN_ACCOUNT: Text(
        "the engine has no such account; the operator opens it with add_member", "账户不存在,由运营方开户"
    ),
    Reason.ACCOUNT_EXISTS: Text("the account exists already", "账户已存在"),
    Reason.UNKNOWN_SESSION: Text(
        "the session has ended or is another account's; log on again", "会话已结束或不属于本账户,请重新登录"
    ),
    Reason.ACCOUNT_BLOCKED: Text(
        "the account is blocked by the operator; only cancels are taken", "账户已被运营方冻结,只接受撤单"
    ),
    Reason.DUPLICATE_CLIENT_ORDER_ID: Text(
        "the client order id was used today with other content; choose another",
        "客户订单号今日已用于其他内容,请更换",
    ),
    Reason.MISSING_CLIENT_ORDER_ID: Text("an order needs a client order id", "订单须带客户订单号"),
    Reason.STALE_REFERENCE: Text("the reference must rise", "引用号必须递增"),
    Reason.DAY_FULL: Text(
        "the day's table of client order ids is full; cancels go on", "当日订单号表已满,仍可撤单"
    ),
    Reason.FORBIDDEN_BY_PROFILE: Text(
        "the venue's profile does not permit this", "本市场的交易模式不允许此操作"
    ),
    Reason.UNKNOWN_INSTRUMENT: Text(
        "no such instrument; ask for `instruments`", "合约不存在,请查询instruments"
    ),
    Reason.INSTRUMENT_EXISTS: Text("the instrument exists already", "合约已存在"),
    Reason.INVALID_TERMS: Text("the instrument's terms contradict each other", "合约条款无效"),
    Reason.INSTRUMENT_CLOSED: Text(
        "the instrument is closed; only cancels are taken", "合约已收盘,只接受撤单", True
    ),
    Reason.INSTRUMENT_HALTED: Text(
        "the instrument is halted; only cancels are taken", "合约暂停交易,只接受撤单", True
    ),
    Reason.INSTRUMENT_OPEN: Text("only possible while the instrument is closed", "只能在合约收盘时进行"),
    Reason.UNKNOWN_PHASE: Text("no such phase", "未知交易阶段"),
    Reason.CONTINUOUS_PHASE_ONLY: Text(
        "this type or time in force is taken in the continuous phase only",
        "此类型或有效期仅限连续交易阶段",
        True,
    ),
    Reason.AUCTION_PHASE_ONLY: Text(
        "at_open is taken before and in a call auction only", "at_open仅限集合竞价阶段", True
    ),
    Reason.NO_CANCEL_PHASE: Text(
        "the auction is about to end: nothing is taken until it has", "集合竞价不可撤单阶段,请稍候", True
    ),
    Reason.UNKNOWN_SIDE: Text("side is buy or sell", "方向须为buy或sell"),
    Reason.UNSUPPORTED_ORDER_TYPE: Text("the order type is not supported", "不支持此订单类型"),
    Reason.UNSUPPORTED_TIME_IN_FORCE: Text("the time in force is not supported here", "不支持此有效期"),
    Reason.NOT_LISTED: Text(
        "not a LISTED instrument: place an order instead of a pick", "非挂牌品种,请下单而非摘牌"
    ),
    Reason.UNSUPPORTED_SELF_TRADE_MODE: Text("no such self-trade prevention mode", "未知的自成交防范方式"),
    Reason.INVALID_DISPLAY_QUANTITY: Text(
        "display a multiple of the step, at most the quantity, of a limit order that can rest",
        "显示数量须为最小单位整数倍且不大于总量,仅限可挂单的限价订单",
    ),
    Reason.INVALID_MINIMUM_QUANTITY: Text(
        "a minimum quantity is at most the quantity, of an ioc order; for the whole quantity use fok",
        "最小成交量不大于总量且仅限ioc订单,全部成交请用fok",
    ),
    Reason.INVALID_STOP_PRICE: Text(
        "stop and stop_limit orders need a stop price on the tick until triggered; others have none",
        "止损订单须填符合最小变动价位的止损价,其他订单不填",
    ),
    Reason.INVALID_EXPIRY: Text(
        "gtd orders need an expiry in the future; other orders have none",
        "gtd订单须填未来的到期时间,其他订单不填",
    ),
    Reason.PRICE_OFF_TICK: Text(
        "the price is not a multiple of the instrument's tick", "价格不是最小变动价位的整数倍"
    ),
    Reason.PRICE_EXCEEDS_BAND: Text(
        "the price is outside the day's band; ask for `instruments`", "价格超出当日涨跌幅"
    ),
    Reason.QUANTITY_OFF_STEP: Text(
        "the quantity is not a multiple of the instrument's step", "数量不是最小交易单位的整数倍"
    ),
    Reason.QUANTITY_BELOW_MINIMUM: Text(
        "the quantity is below the instrument's minimum", "数量低于最小下单量"
    ),
    Reason.EXCEEDS_LIMIT: Text("the number exceeds a permitted maximum", "数值超过允许的上限"),
    Reason.WHOLE_LOT_ONLY: Text(
        "the kilograms do not fit: a sell goes whole or by its minimum, a bid takes a lot within its limits",
        "数量不符:卖方挂牌须整批或不低于其最小量,求购只接受重量在其范围内的货物",
    ),
    Reason.UNKNOWN_ORDER: Text("no such live order of this account", "本账户没有此有效订单"),
    Reason.TOO_LATE: Text("the order has ended already", "订单已结束"),
    Reason.STALE_VERSION: Text(
        "the listing has changed; ask for `listings` and pick again", "挂牌已变更,请重新查询后摘牌"
    ),
    Reason.OWN_LISTING: Text("the listing is of your own company group", "不能摘取本集团的挂牌"),
    Reason.UNKNOWN_TRADE: Text("no such trade, or less of it than that", "没有此成交或数量超出"),
    Reason.NO_LIQUIDITY: Text("the other side of the book is empty", "对手方无报价", True),
    Reason.POST_ONLY_WOULD_TRADE: Text(
        "the post-only order would trade at once; price it further away",
        "只挂单订单会立即成交,请调整价格",
        True,
    ),
    Reason.UNKNOWN_LOT: Text("a sell names a registered lot of this account", "卖单须指明本账户已登记的货物"),
    Reason.LOT_EXISTS: Text("the lot is registered already", "货物已登记"),
    Reason.LOT_OF_OTHER_INSTRUMENT: Text("the lot is of another instrument", "货物属于其他品种"),
    Reason.INSUFFICIENT_GOODS: Text("the lot has fewer free kilograms than that", "货物可用数量不足"),
    Reason.INSUFFICIENT_FUNDS: Text(
        "available money does not cover the hold; deposit first", "可用资金不足,请先入金"
    ),
    Reason.LIVE_ORDERS_FULL: Text("the engine holds its maximum of live orders", "有效订单数已达上限", True),
    Reason.ACCOUNTS_FULL: Text("the engine holds its maximum of accounts", "账户数已达上限"),
    Reason.LOTS_FULL: Text("the engine holds its maximum of lots", "货物数已达上限"),
    Reason.LEVELS_FULL: Text("the instrument holds its maximum of price levels", "价位数已达上限", True),
    Reason.SEQUENCE_EXHAUSTED: Text("the engine's sequence numbers are used up", "序号已用尽"),
    Reason.SESSIONS_FULL: Text("the engine holds its maximum of sessions", "会话数已达上限", True),
    Reason.CLOCK_NOT_STEPPED: Text("the clock is the wall's and cannot be set", "时钟为实时时钟,不能设置"),
    Reason.QUEUE_FULL: Text("the engine's queue is full; try again", "引擎队列已满,请重试", True),
    Reason.SHUTTING_DOWN: Text(
        "the engine is shutting down; reconnect shortly", "系统正在关闭,请稍后重连", True
    ),
    Reason.DISK_FULL: Text("the engine's disk is full; tell the operator", "磁盘已满,请联系运营方", True),
    Reason.CANCELED_BY_OWNER: Text("canceled by its owner", "已由本人撤销"),
    Reason.IOC_REMAINDER: Text("the remainder of an immediate-or-cancel order", "即时成交剩余撤销"),
    Reason.DAY_END: Text("the day has ended", "当日结束"),
    Reason.COLLAR: Text(
        "beyond the collar or the dynamic band the rest is canceled", "超出价格保护范围,剩余撤销"
    ),
    Reason.NOT_FEASIBLE: Text(
        "the whole (fok) or the minimum quantity could not trade at once", "无法立即全部成交或达到最小成交量"
    ),
    Reason.SELF_TRADE_PREVENTION: Text(
        "it met an order of its own company group", "遇到本集团订单,防止自成交"
    ),
    Reason.EXPIRED: Text("its expiry has come", "订单已到期"),
    Reason.AUCTION_ENDED: Text("it was for the auction, which has ended", "集合竞价已结束"),
    Reason.AUCTION_STARTED: Text("it was for the continuous phase, and an auction began", "集合竞价已开始"),
    Reason.MASS_CANCELED: Text("canceled with others by a mass cancel", "批量撤单"),
    Reason.REPLACED_TO_NOTHING: Text("the replacement left nothing of it", "改单后剩余为零"),
    Reason.BAND_MOVED: Text("its price lies outside the new day's band", "价格超出新的涨跌幅范围"),
    Reason.DISCONNECTED: Text("its session ended", "会话已断开"),
    Reason.TIMER_EXPIRED: Text("its session's dead-man timer ran out", "会话定时撤单到时"),
    Reason.KILL_SWITCH: Text("the operator blocked the account", "运营方已冻结账户"),
    Reason.PICKED: Text("what the bid wanted beyond the lot that it got", "求购剩余部分撤销"),
}
