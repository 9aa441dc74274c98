%% Runs inside each RabbitMQ node that the harness starts, in place of `-s rabbit boot`.
%%
%% It dials back to the harness, says who it is, boots RabbitMQ, says that it is ready, and from then on evaluates
%% what the harness sends: an answer takes a millisecond, where rabbitmqctl boots a virtual machine of its own.
%% When the connection closes, whoever started this node is gone, however it died: so the node removes its
%% directory and ends too.
%%
%% Frames have four bytes of length. In: <<Id:64, Expressions>>. Out: <<Id:64, Status:8, Text>>, where id 0 speaks of
%% the node's own life: status 0 hello, 1 ready, 2 failed to boot. For other ids 0 is a value and 1 an error.

Directory = os:getenv("AMQP_HARNESS_DIRECTORY"),
Token = list_to_binary(os:getenv("AMQP_HARNESS_TOKEN")),
Port = list_to_integer(os:getenv("AMQP_HARNESS_PORT")),

End = fun() ->
    file:del_dir_r(Directory),
    erlang:halt(0, [{flush, false}])
end,

Text = fun
    (Value) when is_binary(Value) -> Value;
    (Value) -> unicode:characters_to_binary(io_lib:format("~0tp", [Value]))
end,

%% One cell of a table: names as they are, other terms as Erlang prints them; tab, newline and backslash escaped.
Cell = fun
    Cell({resource, _VirtualHost, _Kind, Name}) -> Cell(Name);
    Cell(none) -> <<>>;
    Cell(Value) ->
        lists:foldl(
            fun({From, To}, Bytes) -> binary:replace(Bytes, From, To, [global]) end,
            Text(Value),
            [{<<"\\">>, <<"\\\\">>}, {<<"\t">>, <<"\\t">>}, {<<"\n">>, <<"\\n">>}])
end,

Rows = fun(Rows) -> iolist_to_binary([[lists:join(<<"\t">>, [Cell(Value) || Value <- Row]), <<"\n">>] || Row <- Rows]) end,

%% AMQP arguments as one cell: name, unit separator, value, record separator, and so on.
Arguments = fun(Table) -> iolist_to_binary([[Key, 31, Text(Value), 30] || {Key, _Type, Value} <- Table]) end,

Evaluate = fun(Source) ->
    try
        {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Source) ++ "."),
        {ok, Expressions} = erl_parse:parse_exprs(Tokens),
        {value, Value, _} = erl_eval:exprs(Expressions, [{'Arguments', Arguments}, {'Rows', Rows}]),
        {0, Text(Value)}
    catch
        Class:Reason -> {1, Text({Class, Reason})}
    end
end,

Serve = fun Serve(Socket) ->
    receive
        {tcp, Socket, <<Id:64, Source/binary>>} ->
            ok = inet:setopts(Socket, [{active, once}]),
            Server = self(),
            spawn(fun() -> {Status, Answer} = Evaluate(Source), Server ! {say, Id, Status, Answer} end),
            Serve(Socket);
        {say, Id, Status, Answer} ->
            gen_tcp:send(Socket, <<Id:64, Status:8, Answer/binary>>),
            Serve(Socket);
        {tcp_closed, Socket} ->
            End();
        {tcp_error, Socket, _Reason} ->
            End()
    end
end,

%% RabbitMQ loads some 900 modules one after the other while it boots. Loading them at once, on all cores, halves the
%% time to start. Nothing depends on it: what fails here is loaded later, as it would have been.
Load = fun Load(Application) ->
    case application:load(Application) of
        ok ->
            {ok, Dependencies} = application:get_key(Application, applications),
            lists:foreach(Load, Dependencies);
        _ ->
            ok
    end
end,
Preload = fun() ->
    lists:foreach(Load, [rabbit, rabbitmq_prelaunch, mnesia]),
    Modules = [Modules || {Name, _, _} <- application:loaded_applications(), {ok, Modules} <- [application:get_key(Name, modules)]],
    code:ensure_modules_loaded(lists:append(Modules))
end,

Control = spawn(fun() ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {packet, 4}, {nodelay, true}, {active, once}]) of
        {ok, Socket} ->
            ok = gen_tcp:send(Socket, <<0:64, 0:8, Token/binary>>),
            Serve(Socket);
        {error, _} ->
            End()
    end
end),

try
    catch Preload(),
    ok = rabbit:boot(),
    ok = rabbit:await_startup(),
    %% It would start an epmd after a minute, and this node lives without one.
    catch supervisor:terminate_child(rabbit_sup, rabbit_epmd_monitor_sup),
    Control ! {say, 0, 1, <<>>}
catch
    Class:Reason -> Control ! {say, 0, 2, Text({Class, Reason})}
end.
