package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	runwright "github.com/runwright/runwright/clients/go"
	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// dispatched is what a dispatcher of a case answers to what it is told.
type dispatched struct {
	Reference  string `json:"reference"`
	Verdict    string `json:"verdict"`
	Message    string `json:"message"`
	Note       string `json:"note"`
	OnBehalfOf string `json:"on_behalf_of"`
	FailsFirst bool   `json:"fails_first"`
}

// dispatcher is one that is served, with what it was told.
type dispatcher struct {
	mutex  sync.Mutex
	server *runwright.DispatcherServer
	told   []object
	counts map[string]int
}

func (d *dispatcher) telling(method string, says dispatched) runwright.DispatchFunc {
	return func(_ context.Context, told *runwright.ApprovalNotification) (runwright.Dispatched, error) {
		d.mutex.Lock()
		d.told = append(d.told, object{"method": method, "told": encode(told)})
		d.counts[method]++
		isFirst := d.counts[method] == 1
		d.mutex.Unlock()
		if says.FailsFirst && isFirst {
			return runwright.Dispatched{}, errors.New("as the case has it")
		}
		return runwright.Dispatched{
			Reference:  says.Reference,
			Verdict:    runwrightv1.ApprovalVerdict(runwrightv1.ApprovalVerdict_value[says.Verdict]),
			Message:    says.Message,
			Note:       says.Note,
			OnBehalfOf: says.OnBehalfOf,
		}, nil
	}
}

func (p *program) serveDispatcher(ctx context.Context, args arguments) (any, error) {
	made := &dispatcher{counts: map[string]int{}}
	made.server = runwright.NewDispatcherServer(runwright.Dispatcher{
		Dispatch: made.telling("dispatch", args.Says["dispatch"]),
		Update:   made.telling("update", args.Says["update"]),
		Withdraw: made.telling("withdraw", args.Says["withdraw"]),
	})
	if err := made.server.Start("127.0.0.1:0"); err != nil {
		return nil, err
	}
	if _, err := made.server.Register(ctx, p.connected(), args.Dispatcher, runwright.WithCallbackID(args.CallbackID)); err != nil {
		made.server.Close()
		return nil, err
	}
	p.mutex.Lock()
	p.told[args.Name] = made
	p.mutex.Unlock()
	return object{"address": made.server.Address()}, nil
}

func (p *program) dispatcherOf(name string) (*dispatcher, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if found := p.told[name]; found != nil {
		return found, nil
	}
	return nil, fmt.Errorf("there is no dispatcher %q", name)
}

func (p *program) toldOf(_ context.Context, args arguments) (any, error) {
	found, err := p.dispatcherOf(args.Name)
	if err != nil {
		return nil, err
	}
	found.mutex.Lock()
	defer found.mutex.Unlock()
	return append([]object{}, found.told...), nil
}

func (p *program) stopDispatcher(_ context.Context, args arguments) (any, error) {
	found, err := p.dispatcherOf(args.Name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopSeconds*time.Second)
	defer cancel()
	found.server.Shutdown(ctx)
	return object{}, nil
}
