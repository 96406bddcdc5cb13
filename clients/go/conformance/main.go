// Command conformance answers the questions of tests/conformance on the public client alone: one
// JSON object a line on standard input, one on standard output, until the input ends.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	runwright "github.com/runwright/runwright/clients/go"
	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

const longestLine = 64 << 20

type object map[string]any

type request struct {
	ID   json.RawMessage `json:"id"`
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args"`
}

type program struct {
	mutex    sync.Mutex
	client   *runwright.Client
	streams  map[string]*stream
	tools    map[string]*tools
	policies map[string]*runwright.PolicyServer
	told     map[string]*dispatcher
	output   sync.Mutex
}

func main() {
	p := &program{streams: map[string]*stream{}, tools: map[string]*tools{}, policies: map[string]*runwright.PolicyServer{},
		told: map[string]*dispatcher{}}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			p.answer(asked.ID, nil, err)
			continue
		}
		go func() {
			result, err := p.perform(asked)
			p.answer(asked.ID, result, err)
		}()
	}
	if p.client != nil {
		_ = p.client.Close()
	}
}

// perform does one op; a fault of this program is an answer, too.
func (p *program) perform(asked request) (result any, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("%v\n%s", panicked, debug.Stack())
		}
	}()
	perform, known := map[string]func(context.Context, arguments) (any, error){
		"connect": p.connect, "close": p.close, "start": p.start, "snapshot": p.snapshot, "cancel": p.cancel,
		"wait": p.wait, "list": p.list, "list_events": p.listEvents, "server_info": p.serverInfo,
		"subscribe": p.subscribe, "read": p.read, "cursor": p.cursor, "unsubscribe": p.unsubscribe,
		"resolve_effect": p.resolveEffect, "unknown_effects": p.unknownEffects,
		"list_approvals": p.listApprovals, "get_approval": p.getApproval, "decide_approval": p.decideApproval,
		"batch_decide": p.batchDecide, "watch_approvals": p.watchApprovals,
		"list_grants": p.listGrants, "revoke_grant": p.revokeGrant,
		"put_package": p.putPackage, "get_package": p.getPackage, "list_packages": p.listPackages,
		"tag_package": p.tagPackage, "tag_history": p.tagHistory, "validate_package": p.validatePackage,
		"resolve_package": p.resolvePackage, "package_fingerprint": p.packageFingerprint,
		"serve_policy": p.servePolicy, "stop_policy": p.stopPolicy, "resume": p.resume,
		"serve_dispatcher": p.serveDispatcher, "stop_dispatcher": p.stopDispatcher, "told": p.toldOf,
		"serve_tools": p.serveTools, "calls": p.calls, "release": p.release, "stop_tools": p.stopTools,
	}[asked.Op]
	if !known {
		return nil, fmt.Errorf("there is no op %q", asked.Op)
	}
	var args arguments
	if len(asked.Args) > 0 {
		if err := json.Unmarshal(asked.Args, &args); err != nil {
			return nil, err
		}
	}
	args.raw = asked.Args
	return perform(context.Background(), args)
}

func (p *program) answer(id json.RawMessage, result any, err error) {
	answer := object{"id": id, "ok": result}
	var failure *runwright.Error
	switch {
	case errors.As(err, &failure):
		answer = object{"id": id, "error": object{
			"reason": failure.Reason, "code": failure.Code, "metadata": failure.Metadata, "retryable": failure.Retryable,
			"has_remedy": failure.Remedy != "", "message": failure.Message, "retry_after_seconds": failure.RetryAfter.Seconds(),
		}}
	case err != nil:
		answer = object{"id": id, "error": object{"reason": "PROGRAM", "message": err.Error()}}
	}
	line, err := json.Marshal(answer)
	if err != nil {
		line, _ = json.Marshal(object{"id": id, "error": object{"reason": "PROGRAM", "message": err.Error()}})
	}
	p.output.Lock()
	defer p.output.Unlock()
	_, _ = os.Stdout.Write(append(line, '\n'))
}

// arguments of all ops; each takes what it knows.
type arguments struct {
	raw json.RawMessage

	Address          string                     `json:"address"`
	Key              string                     `json:"key"`
	TLS              *tlsFiles                  `json:"tls"`
	DeadlineSeconds  float64                    `json:"deadline_seconds"`
	Keepalive        *keepalive                 `json:"keepalive"`
	RunID            string                     `json:"run_id"`
	Reason           string                     `json:"reason"`
	GraceSeconds     *float64                   `json:"grace_seconds"`
	TimeoutSeconds   *float64                   `json:"timeout_seconds"`
	Filter           json.RawMessage            `json:"filter"`
	Scope            json.RawMessage            `json:"scope"`
	View             string                     `json:"view"`
	PageSize         int                        `json:"page_size"`
	Limit            int                        `json:"limit"`
	Name             string                     `json:"name"`
	After            string                     `json:"after"`
	LiveOnly         bool                       `json:"live_only"`
	IncludeDeltas    bool                       `json:"include_deltas"`
	Deltas           bool                       `json:"deltas"`
	UntilDone        bool                       `json:"until_done"`
	ThroughRepair    bool                       `json:"through_repair"`
	Count            int                        `json:"count"`
	UntilEnd         bool                       `json:"until_end"`
	UntilKind        string                     `json:"until_kind"`
	Listen           string                     `json:"listen"`
	Tools            map[string]json.RawMessage `json:"tools"`
	Register         *registration              `json:"register"`
	Credential       string                     `json:"credential"`
	Document         string                     `json:"document"`
	Sidecars         []string                   `json:"sidecars"`
	Package          json.RawMessage            `json:"package"`
	PackageID        string                     `json:"package_id"`
	Tag              string                     `json:"tag"`
	Fingerprint      string                     `json:"fingerprint"`
	ExpectedPrevious *string                    `json:"expected_previous"`
	RequestID        string                     `json:"request_id"`
	EffectID         string                     `json:"effect_id"`
	ApprovalID       string                     `json:"approval_id"`
	Mine             bool                       `json:"mine"`
	Attempt          uint32                     `json:"attempt"`
	Resolution       string                     `json:"resolution"`
	Result           *string                    `json:"result"`
	Message          string                     `json:"message"`
	Budget           json.RawMessage            `json:"budget"`
	Policy           string                     `json:"policy"`
	CallbackID       string                     `json:"callback_id"`
	Answers          map[string]verdict         `json:"answers"`
	Dispatcher       string                     `json:"dispatcher"`
	Says             map[string]dispatched      `json:"says"`
}

type keepalive struct {
	Interval float64 `json:"interval_seconds"`
	Timeout  float64 `json:"timeout_seconds"`
}

// seconds of a number that may be left out.
func seconds(number *float64, otherwise time.Duration) time.Duration {
	if number == nil {
		return otherwise
	}
	return time.Duration(*number * float64(time.Second))
}

// decode reads a message in proto JSON, if there is one.
func decode[M proto.Message](text json.RawMessage, message M) (M, error) {
	if len(text) == 0 || string(text) == "null" {
		return message, nil
	}
	return message, protojson.Unmarshal(text, message)
}

// encode writes a message in proto JSON.
func encode(message proto.Message) json.RawMessage {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		panic(err)
	}
	return text
}

func (p *program) connected() *runwright.Client {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.client == nil {
		panic("connect first")
	}
	return p.client
}

type tlsFiles struct {
	CA         string `json:"ca"`
	Cert       string `json:"cert"`
	Key        string `json:"key"`
	ServerName string `json:"server_name"`
}

// read takes PEM texts as they are, and the others as names of files.
func (t *tlsFiles) read() (runwright.TLS, error) {
	read := runwright.TLS{ServerName: t.ServerName}
	for from, to := range map[string]*[]byte{t.CA: &read.CA, t.Cert: &read.Cert, t.Key: &read.Key} {
		if from == "" {
			continue
		}
		if *to = []byte(from); from[0] != '-' {
			data, err := os.ReadFile(from)
			if err != nil {
				return read, err
			}
			*to = data
		}
	}
	return read, nil
}

func (p *program) connect(_ context.Context, args arguments) (any, error) {
	options := []runwright.Option{runwright.WithKey(args.Key)}
	if args.TLS != nil {
		tls, err := args.TLS.read()
		if err != nil {
			return nil, err
		}
		options = append(options, runwright.WithTLS(tls))
	}
	if args.DeadlineSeconds > 0 {
		options = append(options, runwright.WithDeadline(seconds(&args.DeadlineSeconds, 0)))
	}
	if args.Keepalive != nil {
		after, timeout := seconds(&args.Keepalive.Interval, 0), seconds(&args.Keepalive.Timeout, 0)
		options = append(options, runwright.WithKeepalive(after, timeout))
	}
	client, err := runwright.Connect(args.Address, options...)
	if err != nil {
		return nil, err
	}
	p.mutex.Lock()
	before := p.client
	p.client = client
	p.mutex.Unlock()
	if before != nil {
		return object{}, before.Close()
	}
	return object{}, nil
}

func (p *program) close(context.Context, arguments) (any, error) {
	p.mutex.Lock()
	client := p.client
	p.client = nil
	p.mutex.Unlock()
	if client == nil {
		return object{}, nil
	}
	return object{}, client.Close()
}

func (p *program) start(ctx context.Context, args arguments) (any, error) {
	asked, err := decode(args.raw, &runwrightv1.RunRequest{})
	if err != nil {
		return nil, err
	}
	input := asked.GetInput()
	asked.Input = nil
	started, err := p.connected().Start(ctx, input, func(r *runwrightv1.RunRequest) { proto.Merge(r, asked) })
	if err != nil {
		return nil, err
	}
	return object{"created": started.Created, "run": encode(started.Run)}, nil
}

func (p *program) snapshot(ctx context.Context, args arguments) (any, error) {
	run, err := p.connected().Snapshot(ctx, args.RunID)
	if err != nil {
		return nil, err
	}
	return object{"run": encode(run)}, nil
}

func (p *program) cancel(ctx context.Context, args arguments) (any, error) {
	options := []runwright.CancelOption{runwright.WithReason(args.Reason)}
	if args.GraceSeconds != nil {
		options = append(options, runwright.WithGrace(seconds(args.GraceSeconds, 0)))
	}
	cancelled, err := p.connected().Cancel(ctx, args.RunID, options...)
	if err != nil {
		return nil, err
	}
	return object{"run": encode(cancelled.Run), "barrier_seq": cancelled.BarrierSeq}, nil
}

func (p *program) resolveEffect(ctx context.Context, args arguments) (any, error) {
	decision := runwright.Decision{
		RunID: args.RunID, EffectID: args.EffectID, Attempt: args.Attempt, Message: args.Message, Reason: args.Reason,
		RequestID: args.RequestID, Resolution: runwright.Resolution(runwrightv1.Resolution_value[args.Resolution]),
	}
	if args.Result != nil {
		decision.Result = []byte(*args.Result)
	}
	resolved, err := p.connected().ResolveEffect(ctx, decision)
	if err != nil {
		return nil, err
	}
	return object{"run": encode(resolved.Run), "resolution": encode(resolved.Decision), "resolved": resolved.Resolved}, nil
}

func (p *program) unknownEffects(ctx context.Context, args arguments) (any, error) {
	effects := []json.RawMessage{}
	for unknown, err := range p.connected().UnknownEffects(ctx) {
		if err != nil {
			return nil, err
		}
		if unknown.Run.GetRunId() == args.RunID {
			effects = append(effects, encode(unknown.Effect))
		}
	}
	return object{"effects": effects}, nil
}

func (p *program) listApprovals(ctx context.Context, args arguments) (any, error) {
	filter, err := decode(args.raw, &runwright.ApprovalFilter{})
	if err != nil {
		return nil, err
	}
	approvals := []json.RawMessage{}
	for approval, err := range p.connected().ListApprovals(ctx, filter) {
		if err != nil {
			return nil, err
		}
		approvals = append(approvals, encode(approval))
	}
	return object{"approvals": approvals}, nil
}

func (p *program) getApproval(ctx context.Context, args arguments) (any, error) {
	approval, err := p.connected().GetApproval(ctx, args.ApprovalID)
	if err != nil {
		return nil, err
	}
	return object{"approval": encode(approval)}, nil
}

func (p *program) decideApproval(ctx context.Context, args arguments) (any, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(args.raw, &fields); err != nil {
		return nil, err
	}
	edited := fields["arguments"]
	delete(fields, "arguments")
	rest, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	decision, err := decode(rest, &runwright.ApprovalDecision{})
	if err != nil {
		return nil, err
	}
	decision.ArgumentsJson = edited
	decided, err := p.connected().DecideApproval(ctx, decision)
	if err != nil {
		return nil, err
	}
	return object{"approval": encode(decided.GetApproval()), "decided": decided.GetDecided()}, nil
}

func (p *program) batchDecide(ctx context.Context, args arguments) (any, error) {
	batch, err := decode(args.raw, &runwrightv1.BatchDecideRequest{})
	if err != nil {
		return nil, err
	}
	results, err := p.connected().BatchDecide(ctx, batch.GetDecisions()...)
	if err != nil {
		return nil, err
	}
	encoded := []json.RawMessage{}
	for _, result := range results {
		encoded = append(encoded, encode(result))
	}
	return object{"results": encoded}, nil
}

func (p *program) listGrants(ctx context.Context, args arguments) (any, error) {
	filter, err := decode(args.raw, &runwright.GrantFilter{})
	if err != nil {
		return nil, err
	}
	grants := []json.RawMessage{}
	for grant, err := range p.connected().ListGrants(ctx, filter) {
		if err != nil {
			return nil, err
		}
		grants = append(grants, encode(grant))
	}
	return object{"grants": grants}, nil
}

func (p *program) revokeGrant(ctx context.Context, args arguments) (any, error) {
	request, err := decode(args.raw, &runwrightv1.RevokeGrantRequest{})
	if err != nil {
		return nil, err
	}
	made, err := p.connected().RevokeGrant(ctx, request.GetGrantId(), request.GetNote())
	if err != nil {
		return nil, err
	}
	return object{"grant": encode(made.GetGrant()), "revoked": made.GetRevoked()}, nil
}

func (p *program) watchApprovals(ctx context.Context, args arguments) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	options := []runwright.WatchOption{runwright.WithApprovalsAfter(args.After)}
	if args.Mine {
		options = append(options, runwright.WithMine())
	}
	updates := []any{}
	for update, err := range p.connected().WatchApprovals(ctx, options...) {
		if err != nil {
			return nil, err
		}
		updates = append(updates, object{"approval": encode(update.Approval), "cursor": update.Cursor})
		if len(updates) == args.Count {
			break
		}
	}
	return object{"updates": updates}, nil
}

func (p *program) wait(ctx context.Context, args arguments) (any, error) {
	run, done, err := p.connected().Wait(ctx, args.RunID, seconds(args.TimeoutSeconds, 0))
	if err != nil {
		return nil, err
	}
	return object{"run": encode(run), "done": done}, nil
}

func (p *program) list(ctx context.Context, args arguments) (any, error) {
	filter, err := decode(args.Filter, &runwright.RunFilter{})
	if err != nil {
		return nil, err
	}
	runs := []json.RawMessage{}
	for run, err := range p.connected().List(ctx, runwright.WithRunFilter(filter), runwright.WithPageSize(args.PageSize)) {
		if err != nil {
			return nil, err
		}
		if runs = append(runs, encode(run)); len(runs) == args.Limit {
			break
		}
	}
	return object{"runs": runs}, nil
}

func (p *program) listEvents(ctx context.Context, args arguments) (any, error) {
	scope, options, err := args.stream()
	if err != nil {
		return nil, err
	}
	listed := []runwright.ListEventsOption{runwright.WithPageSize(args.PageSize)}
	for _, option := range options {
		listed = append(listed, option)
	}
	frames := []json.RawMessage{}
	for frame, err := range p.connected().ListEvents(ctx, scope, listed...) {
		if err != nil {
			return nil, err
		}
		if frames = append(frames, encode(frame)); len(frames) == args.Limit {
			break
		}
	}
	return object{"frames": frames}, nil
}

func (p *program) serverInfo(ctx context.Context, _ arguments) (any, error) {
	info, err := p.connected().ServerInfo(ctx)
	if err != nil {
		return nil, err
	}
	return encode(info), nil
}
